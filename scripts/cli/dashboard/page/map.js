// Draws sites, hubs, links and hosts as SVG. What is drawn stays; only colours, lines and words change.

const SVG = "http://www.w3.org/2000/svg";
const HOST_GAP = 62, ROW = 46, PER_ROW = 4, SITE_GAP = 60, MARGIN = 20;

const className = (state) => state.replaceAll(" ", "-");

function element(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Where everything is: on a phone sites stand below each other, else around a ring.
function layout(board, narrow) {
  const sites = board.sites.map((site) => {
    const hubs = board.hubs.filter((hub) => hub.site === site.name);
    const hosts = board.hosts.filter((host) => host.site === site.name);
    const columns = Math.max(2, Math.min(PER_ROW, hosts.length), hubs.length);
    const rows = Math.ceil(hosts.length / columns);
    return { ...site, hubs, hosts, columns, width: columns * HOST_GAP + 30, height: 100 + rows * ROW };
  });
  const columns = narrow ? 1 : Math.ceil(Math.sqrt(sites.length));
  const places = new Map();
  let y = MARGIN, width = 0;
  for (let row = 0; row * columns < sites.length; row++) {
    const inRow = sites.slice(row * columns, (row + 1) * columns);
    let x = MARGIN;
    for (const site of inRow) {
      Object.assign(site, { x, y });
      site.hubs.forEach((hub, at) => places.set(hub.name, {
        x: x + (site.width * (at + 1)) / (site.hubs.length + 1), y: y + 64, site }));
      site.hosts.forEach((host, at) => places.set(host.name, {
        x: x + 15 + HOST_GAP * ((at % site.columns) + 0.5), y: y + 116 + ROW * Math.floor(at / site.columns), site }));
      x += site.width + SITE_GAP;
    }
    width = Math.max(width, x - SITE_GAP + MARGIN);
    y += Math.max(...inRow.map((site) => site.height)) + SITE_GAP;
  }
  return { sites, places, width, height: y - SITE_GAP + MARGIN };
}

function curve(from, to) {
  if (from.site === to.site) return `M${from.x},${from.y} Q${(from.x + to.x) / 2},${from.y - 40} ${to.x},${to.y}`;
  const bend = 0.12, dx = to.x - from.x, dy = to.y - from.y;
  return `M${from.x},${from.y} Q${(from.x + to.x) / 2 - dy * bend},${(from.y + to.y) / 2 + dx * bend} ${to.x},${to.y}`;
}

const shapeOf = (board) => JSON.stringify([
  board.sites.map((site) => site.name), board.hubs.map((hub) => hub.name), board.hosts.map((host) => host.name)]);

export class NetworkMap {
  constructor(place, choose) {
    this.place = place;
    this.choose = choose;
    this.shape = "";
    this.narrow = matchMedia("(max-width: 40rem)");
    this.narrow.addEventListener("change", () => { this.shape = ""; if (this.board) this.show(this.board); });
  }

  show(board) {
    this.board = board;
    if (shapeOf(board) !== this.shape) this.build(board);
    for (const link of board.links) {
      const line = this.links.get(link.ends.join(" - "));
      line.setAttribute("class", `link ${link.state}`);
      const told = link.rtt_ms === null ? link.state : `${link.state}, ${link.rtt_ms.toFixed(1)} ms`;
      line.firstChild.textContent = `link ${link.ends.join(" to ")}: ${told}`;
    }
    this.tunnels.replaceChildren();
    for (const host of board.hosts) {
      const own = this.spots.get(host.name);
      for (const [hub, kind] of [[host.hub, ""], [host.spare, "spare"]]) {
        const to = this.spots.get(hub);
        if (to) this.tunnels.append(element("path", { class: `tunnel ${kind} ${className(host.state)}`, d: curve(own, to) }));
      }
    }
    for (const member of [...board.hubs, ...board.hosts]) {
      const group = this.members.get(member.name);
      group.setAttribute("class", `member ${className(member.state)}`);
      group.dataset.state = member.state;
      group.setAttribute("aria-label", `${member.name}: ${member.state}${member.why ? `, ${member.why}` : ""}`);
    }
  }

  build(board) {
    const focused = document.activeElement?.dataset?.name;
    const { sites, places, width, height } = layout(board, this.narrow.matches);
    this.spots = places;
    this.shape = shapeOf(board);
    this.links = new Map();
    this.members = new Map();
    this.tunnels = element("g", { "aria-hidden": "true" });
    const boxes = element("g"), lines = element("g", { "aria-hidden": "true" }), nodes = element("g"), titles = element("g");
    for (const site of sites) {
      boxes.append(
        element("rect", { class: "site", x: site.x, y: site.y, width: site.width, height: site.height, rx: 12 }));
      titles.append(
        element("text", { x: site.x + site.width / 2, y: site.y + 18 }, site.name),
        element("text", { class: "faint", x: site.x + site.width / 2, y: site.y + 34 },
          `${site.cloud} ${site.region}`));
    }
    for (const link of board.links) {
      const [from, to] = link.ends.map((end) => places.get(end));
      const line = element("path", { d: curve(from, to) }, element("title"));
      this.links.set(link.ends.join(" - "), line);
      lines.append(line);
    }
    for (const member of [...board.hubs, ...board.hosts]) nodes.append(this.node(member, places.get(member.name)));
    const drawing = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Map of the network" },
      boxes, lines, this.tunnels, titles, nodes);
    this.place.replaceChildren(drawing);
    if (focused) this.members.get(focused)?.focus();
  }

  node(member, { x, y }) {
    const isHub = !("role" in member);
    const shape = isHub
      ? element("rect", { class: "shape", x: x - 15, y: y - 12, width: 30, height: 24, rx: 5 })
      : element("circle", { class: "shape", cx: x, cy: y, r: 9 });
    const label = element("text", { x, y: y + (isHub ? 27 : 24) }, isHub ? member.name.split("/")[1] : member.name);
    const group = element("g", { tabindex: 0, role: "button" }, shape, label);
    group.dataset.name = member.name;
    group.addEventListener("click", () => this.choose(member.name));
    group.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); this.choose(member.name); }
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step) { event.preventDefault(); this.step(group, step); }
    });
    this.members.set(member.name, group);
    return group;
  }

  step(group, by) {
    const all = [...this.members.values()];
    all[(all.indexOf(group) + by + all.length) % all.length].focus();
  }
}
