"""What benches write down: their own part of a document, and ratios that belong to one round."""

from bench import documents
from bench.dataplane_figures import PLAIN, Found, ratios, rows, spread
from bench.loads import Load, quantile
from bench.storm_figures import STORM_HEADS, rest_rows, storm_rows


def test_a_bench_writes_its_own_part_of_a_document_and_no_other(tmp_path):
    document = tmp_path / "figures.md"
    documents.write(document, "bench/one", "Figures", "bench/one --write", "first")
    document.write_text(f"{document.read_text()}\nWords of a person.\n")
    documents.write(document, "bench/two", "Figures", "bench/two --write", "other")
    documents.write(document, "bench/one", "Figures", "bench/one --write", r"second \1")
    text = document.read_text()
    assert (
        "first" not in text and text.count(r"second \1") == text.count("other") == text.count("Words of a person.") == 1
    )


def found(*megabits):
    seen = [Load(rate, rate, 100 / rate, 200 / rate) for rate in megabits]
    return Found(tcp=seen, udp=seen, small=seen, median_ms=[1.0], last_ms=[2.0])


def test_a_ratio_is_of_figures_of_one_round():
    """A computer that slows down half-way must not show as a spread of the ratio."""
    ((name, speed, cost),) = ratios({PLAIN: found(200, 100), "ours, one site": found(400, 200)})
    assert name == f"ours, one site : {PLAIN}"
    assert (speed, cost) == ("2.00 (2.00-2.00)", "0.50 (0.50-0.50)")


def test_a_table_shows_the_spread_where_there_is_one():
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0-3.0)" and spread([1.234], 2) == "1.23"
    assert rows({"ours, one site": found(300, 100, 200)})[0][1] == "200 (100-300)"
    assert quantile(range(100), 0.99) == 99 and quantile([5.0], 0.99) == 5.0


def test_a_storms_table_has_a_row_for_each_crowd_and_way_of_coming():
    came = dict.fromkeys(("in_seconds", "slowest_seconds", "udp_ms", "hooks_ms", "gap_ms", "lost"), 2.0)
    came |= {"hub_core": 0.5, "crowd_core": 0.5, "megabytes": 11.0}
    one = {"quiet": {"megabytes": 10.0}, "once": came, "spread": {**came, "in_seconds": 4.0}}
    rows = storm_rows({8: [one]})
    assert [row[:3] for row in rows] == [["8 all at once", "2.0", "4"], ["8 over 4 s", "4.0", "2"]]
    assert all(len(row) == len(STORM_HEADS) and row[6] == "128" for row in rows)


def test_what_fills_a_core_is_calculated_from_hosts_that_probe_and_are_there():
    one = {"rest": {"silent_ms": 0.1, "probing_ms": 0.4}}
    assert rest_rows({8: [one, one]}) == [["8", "0.10 (0.10-0.10)", "0.40 (0.40-0.40)", "2000 (2000-2000)"]]
