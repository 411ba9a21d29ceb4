// Shows what the server tells, as it tells it. All text goes in as text, never as markup.

import { NetworkMap } from "./map.js";

const NEAR_MS = 30, FAR_MS = 120, SILENT_SECONDS = 12;
const byId = (id) => document.getElementById(id);
const map = new NetworkMap(byId("drawing"), choose);
let board = null, chosen = null, heardAt = 0;

function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.map((child) => child ?? ""));
  return made;
}

const clock = (time) => new Date(time).toLocaleTimeString();
const when = (time) => node("time", { datetime: time }, clock(time));
const since = (time) => {
  if (!time) return "";
  const passed = Math.max(0, Math.round((Date.now() - Date.parse(time)) / 1000));
  if (passed < 120) return `${passed} s`;
  if (passed < 7200) return `${Math.round(passed / 60)} min`;
  return passed < 172800 ? `${Math.round(passed / 3600)} h` : `${Math.round(passed / 86400)} d`;
};
const kind = (state) => state.replaceAll(" ", "-");
const ms = (value) => (value === null || value === undefined ? "–" : value < 0.95 ? value.toPrecision(2) : value.toFixed(1));
const state = (member) => node("span", { class: `state ${kind(member.state)}`, title: member.why }, member.state);
const number = (text, kind = "") => node("td", { class: `number ${kind}` }, String(text ?? "–"));
const distance = (value) => (value === null ? "" : value < NEAR_MS ? "" : value < FAR_MS ? "far" : "very-far");

// What has not changed stays as it is, with what the reader has selected in it.
const shown = new Map();
function changed(part, value) {
  const text = JSON.stringify(value);
  const differs = shown.get(part) !== text;
  shown.set(part, text);
  return differs;
}

// A hub's name may go on below: columns of figures are narrower than it is.
const breakable = (text) => text.split("/").flatMap((part, at) => (at ? ["/", node("wbr"), part] : [part]));

function table(id, heads, rows) {
  const head = node("tr", {}, ...heads.map((text) => node("th", { scope: "col" }, ...breakable(text))));
  byId(id).replaceChildren(node("thead", {}, head), node("tbody", {}, ...rows));
}

function row(name, ...cells) {
  return node("tr", {}, node("th", { scope: "row" }, name),
    ...cells.map((cell) => (cell instanceof HTMLTableCellElement ? cell : node("td", {}, cell))));
}

function show() {
  byId("stack").textContent = board.stack;
  document.title = `${board.well ? "" : "! "}${board.stack} · vcubev`;
  const members = [...board.hubs, ...board.hosts];
  const ill = members.filter((member) => !["up", "away", "drained"].includes(member.state));
  const health = byId("health");
  health.className = board.well ? "up" : "down";
  const told = board.well ? `all ${members.length} well` : ill.map((one) => `${one.name} ${one.state}`).join(", ");
  if (health.textContent !== told) health.textContent = told;
  map.show(board);
  if (changed("matrix", board.matrix)) table("matrix-table", ["", ...board.matrix.columns], board.matrix.rows.map((line) =>
    row(line.name, ...line.rtt_ms.map((value) => number(ms(value), distance(value))))));
  table("hosts-table", ["host", "state", "IPv4", "on hub", "and on", "ms", "loss", "since", "last move"],
    board.hosts.map((host) => row(host.private ? `${host.name} (private)` : host.name, state(host), host.ipv4,
      host.hub ?? "", host.spare ?? "", number(ms(host.rtt_ms)),
      number(host.loss === null ? "–" : `${Math.round(host.loss * 100)} %`), since(host.since),
      host.last_move ? `${clock(host.last_move.at)} ${host.last_move.reason}` : "")));
  if (changed("hubs", board.hubs)) table("hubs-table", ["hub", "state", "IPv4", "hosts", "tunnels", "links", "why"], board.hubs.map((hub) =>
    row(hub.name, state(hub), hub.ipv4, number(hub.hosts), number(hub.tunnels),
      number(hub.links ? `${hub.links_up}/${hub.links}` : "–"), hub.why)));
  if (changed("events", board.events)) byId("event-list").replaceChildren(...(board.events.length ? board.events.map((event) =>
    node("li", {}, when(event.at), " ", node("strong", {}, event.who), ` ${event.what}`))
    : [node("li", { class: "faint" }, "Nothing has happened since this page's server began.")]));
  byId("policy-note").textContent = board.policy.enforced ? "" : "No services: all is open within the overlay.";
  if (changed("policy", board.policy.services)) table("policy-table", ["service", "on", "ports", "from"], board.policy.services.map((service) =>
    row(service.name, service.on, service.ports.join(", "), service.from.join(", "))));
  if (changed("drops", board.policy.drops)) table("drops-table", ["dropped at", "for", "packets"], board.policy.drops.map((drop) =>
    row(drop.machine, drop.reason, number(drop.packets))));
  if (changed("cost", board.cost)) cost();
  detail();
}

function cost() {
  const unknown = board.cost.unknown.length ? ` without ${board.cost.unknown.join(", ")}` : "";
  table("cost-table", ["site", "$ a month"], [
    ...board.cost.sites.map((site) => row(site.site, number(site.monthly_usd.toFixed(2)))),
    row(`all${unknown}`, number(board.cost.monthly_usd.toFixed(2)))]);
}

function choose(name) {
  chosen = chosen === name ? null : name;
  detail();
}

function detail() {
  const one = [...board.hubs, ...board.hosts].find((member) => member.name === chosen);
  if (!one) { byId("detail").replaceChildren(); return; }
  const parts = [one.ipv4, one.ipv6, one.role && `role ${one.role}`, one.why, one.hub && `on ${one.hub}`,
    one.since && `for ${since(one.since)}`, one.drops && `${one.drops} packets dropped`,
    one.certificate_ends && `certificate until ${one.certificate_ends.slice(0, 10)}`].filter(Boolean);
  byId("detail").replaceChildren(node("strong", {}, one.name), " ", state(one), ` · ${parts.join(" · ")}`);
}

function lose(text) {
  byId("lost").hidden = !text;
  byId("lost").textContent = text;
}

const stream = new EventSource("events");
stream.onmessage = (message) => {
  board = JSON.parse(message.data);
  if (!board.sites) return;
  heardAt = Date.now();
  lose("");
  show();
};
setInterval(() => {
  if (heardAt && Date.now() - heardAt > SILENT_SECONDS * 1000) lose(
    `Nothing heard from the dashboard's own server since ${clock(heardAt)}: what you see is old.`);
}, 1000);

byId("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark"
    || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "light" : "dark";
});
