"""The demo's files have real rows, as known 60 minutes before departure and not later."""

import io
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv, parquet
from ruamel.yaml import YAML

from cli.demo import as_of, flights
from shared.errors import InvalidInput, MissingDependency
from shared.usecase.charter import Charter

pytestmark = pytest.mark.slow

MINUTE = 60


@pytest.fixture(scope="module")
def sources() -> flights.Sources:
    return flights.read_sources()


@pytest.fixture(scope="module")
def months() -> dict[str, pa.Table]:
    return dict(flights.months())


@pytest.fixture(scope="module")
def january(months: dict[str, pa.Table]) -> pa.Table:
    return months["2013-01"]


@pytest.fixture(scope="module")
def winter(sources: flights.Sources) -> flights.Sources:
    """The first twelve days of February: enough for most tests, and faster than the year."""
    return until(sources, "2013-02-01", "2013-02-13")


def until(sources: flights.Sources, start: str, end: str) -> flights.Sources:
    def within(table: pa.Table) -> pa.Table:
        hour = table["time_hour"].to_numpy()
        return table.filter(pa.array((hour >= np.datetime64(start, "s")) & (hour < np.datetime64(end, "s"))))

    return msgspec.structs.replace(sources, flights=within(sources.flights), weather=within(sources.weather))


def epoch_minutes(table: pa.Table, name: str) -> np.ndarray:
    return table[name].cast(pa.int64()).to_numpy() // MINUTE


# --- no leakage


def scrambled_after(sources: flights.Sources, moment: int, seed: int) -> flights.Sources:
    """Return the sources with everything changed that became known after `moment` (minutes since the epoch).

    Flights that had not left by then leave at other later times, or never. All arrivals change, and the weather of
    hours that were not over. The rows stay the same: an arrival delay is changed, not removed.
    """
    random = np.random.default_rng(seed)
    table = sources.flights
    scheduled = epoch_minutes(table, "time_hour") + table["minute"].to_numpy()
    delay = table["dep_delay"].to_numpy()
    not_left = ~(scheduled + delay <= moment)  # NaN: never left
    earliest = np.maximum(moment + 1 - scheduled, -30)
    other = np.where(random.random(len(delay)) < 0.2, np.nan, earliest + random.integers(0, 400, len(delay)))
    delay = np.where(not_left, other, delay)
    arrival = table["arr_delay"].to_numpy()
    arrival = np.where(np.isnan(arrival), arrival, random.integers(-60, 300, len(arrival)))
    columns = {"dep_delay": delay, "arr_delay": arrival}
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, mask=np.isnan(values)))
    weather = sources.weather
    unknown = epoch_minutes(weather, "time_hour") + 60 > moment
    for name in flights.WEATHER:
        values = np.where(unknown, random.random(len(unknown)) * 1000, weather[name].to_numpy())
        weather = weather.set_column(
            weather.schema.get_field_index(name), name, pa.array(values, mask=np.isnan(values))
        )
    return msgspec.structs.replace(sources, flights=table, weather=weather)


def changed_columns(before: pa.Table, after: pa.Table, rows: np.ndarray) -> set[str]:
    assert before["flight_id"].equals(after["flight_id"])
    mask = pa.array(rows)
    return {name for name in before.column_names if not before[name].filter(mask).equals(after[name].filter(mask))}


@pytest.mark.parametrize("seed", range(5))
def test_what_happens_after_the_cut_changes_no_feature(winter: flights.Sources, seed: int) -> None:
    before = flights.features(winter)
    requested = epoch_minutes(before, "scheduled_at") - 60
    moment = int(np.random.default_rng(seed).choice(requested[2000:-2000]))

    after = flights.features(scrambled_after(winter, moment, seed))

    assert changed_columns(before, after, requested <= moment) == {"late"}
    # Later rows see the changes in every column that depends on them, so the test is able to fail.
    dependent = {*flights.WEATHER.values(), *(name for name in flights.NUMERIC if name.startswith(flights.STATE_OF))}
    assert changed_columns(before, after, requested > moment) == dependent | {"late"}


@pytest.mark.parametrize(
    ("constant", "value", "leaking"),
    [
        ("CUT_BEFORE_MIN", 59, "city_left"),
        ("CUT_BEFORE_MIN", 0, "origin_delay_min"),
        ("WEATHER_KNOWN_AFTER_MIN", 0, "humidity_pct"),
    ],
)
def test_a_join_with_a_later_cut_is_detected(
    winter: flights.Sources, monkeypatch: pytest.MonkeyPatch, constant: str, value: int, leaking: str
) -> None:
    monkeypatch.setattr(flights, constant, value)
    before = flights.features(winter)
    requested = epoch_minutes(before, "scheduled_at") - 60
    noon = int(np.datetime64("2013-02-04T17:00", "m").astype(np.int64))

    assert any(
        leaking
        in changed_columns(before, flights.features(scrambled_after(winter, moment, seed=1)), requested <= moment)
        for moment in range(noon, noon + 120, 5)
    )


def test_a_flights_own_outcome_is_in_no_feature(winter: flights.Sources) -> None:
    before = flights.features(winter)
    flight = before.slice(4000, 1)
    table = winter.flights
    requested = epoch_minutes(flight, "scheduled_at")[0]
    own = (epoch_minutes(table, "time_hour") + table["minute"].to_numpy() == requested) & (
        np.char.add(table["carrier"].to_numpy().astype(str), table["flight"].to_numpy().astype(str))
        == flight["flight_id"][0].as_py().split("-")[3]
    )
    assert own.sum() == 1
    for name in ("dep_delay", "arr_delay"):
        values = np.where(own, 777.0, table[name].to_numpy())
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, mask=np.isnan(values)))

    after = flights.features(msgspec.structs.replace(winter, flights=table)).slice(4000, 1)

    assert after["late"][0].as_py() == 1
    assert after.drop_columns(["late"]).equals(flight.drop_columns(["late"]))


# --- the as-of joins against a direct implementation of their definition

departure = st.tuples(st.integers(0, 2), st.integers(0, 400), st.none() | st.integers(-40, 500))


@settings(max_examples=200)
@given(rows=st.lists(departure, min_size=1, max_size=25), before=st.integers(41, 200))
def test_state_agrees_with_its_definition(rows: list[tuple[int, int, int | None]], before: int) -> None:
    group = np.array([row[0] for row in rows])
    scheduled = np.array([row[1] for row in rows])
    delay = np.array([np.nan if row[2] is None else row[2] for row in rows])
    cut = scheduled - before

    seen = as_of.state_as_of(group, scheduled, delay, cut)

    for i, moment in enumerate(cut):
        same = [row for row in rows if row[0] == group[i]]
        left = [d for _, s, d in same if d is not None and moment - 120 < s + d <= moment]
        waiting = [s for _, s, d in same if s <= moment < s + 180 and (d is None or s + d > moment)]
        assert seen["left"][i] == len(left)
        assert seen["overdue"][i] == len(waiting)
        assert (
            seen["delay_min"][i] == pytest.approx(np.mean(left), abs=1e-3) if left else np.isnan(seen["delay_min"][i])
        )
        late = [d > 15 for d in left]
        assert (
            seen["late_share"][i] == pytest.approx(np.mean(late), abs=1e-4) if left else np.isnan(seen["late_share"][i])
        )


@settings(max_examples=200)
@given(
    records=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50)), min_size=1, max_size=12, unique=True),
    requested=st.lists(st.tuples(st.sampled_from("abc"), st.integers(-5, 60)), min_size=1, max_size=12),
    tolerance=st.integers(0, 30),
)
def test_latest_is_the_newest_known_record_within_the_tolerance(
    records: list[tuple[str, int]], requested: list[tuple[str, int]], tolerance: int
) -> None:
    names, times = (np.array(part) for part in zip(*records, strict=True))
    groups, cuts = (np.array(part) for part in zip(*requested, strict=True))

    found = as_of.latest_as_of(names, times, groups, cuts, tolerance)

    for row, (group, cut) in zip(found, requested, strict=True):
        known = [time for name, time in records if name == group and cut - tolerance <= time <= cut]
        assert (records[row] if row >= 0 else None) == ((group, max(known)) if known else None)


# --- the files


def test_a_known_flight_has_its_real_values(january: pa.Table) -> None:
    # UA 1545 to Houston, 05:15 in New York to 08:19 in Texas, 1,400 miles, a 149-seater built in 1999. The cut is
    # 04:15: the last full hour is 3 o'clock, and no flight had left yet.
    row = january.filter(pc.equal(january["flight_id"], "2013-01-01T10:15Z-UA1545-EWR")).to_pylist()[0]
    assert row | {"scheduled_at": None} == {
        "flight_id": "2013-01-01T10:15Z-UA1545-EWR",
        "scheduled_at": None,
        "carrier": "UA",
        "origin": "EWR",
        "dest": "IAH",
        "day_of_week": 2,
        "scheduled_hour": 5,
        "distance_mi": 1400,
        "block_min": 244,
        "hour_departures": 2,
        "plane_seats": 149,
        "plane_age_years": 14,
        "humidity_pct": 64.43,
        "wind_direction_deg": 240,
        "wind_speed_mph": 11.508,
        "wind_gust_mph": None,
        "precipitation_in": 0,
        "visibility_mi": 10,
        **dict.fromkeys((f"{group}_{figure}" for group in flights.STATE_OF for figure in ("left", "overdue")), 0),
        **{f"{group}_{figure}": None for group in flights.STATE_OF for figure in ("delay_min", "late_share")},
        "late": 0,
    }
    assert row["scheduled_at"].isoformat() == "2013-01-01T10:15:00+00:00"


def test_every_month_is_a_calendar_month_of_its_time_column(months: dict[str, pa.Table]) -> None:
    assert list(months) == [f"2013-{month:02d}" for month in range(1, 13)]
    for window, table in months.items():
        found = table["scheduled_at"].to_numpy().astype("datetime64[M]")
        assert set(found.tolist()) == {np.datetime64(window, "M").item()}
    ids = pa.concat_tables(months.values())["flight_id"]
    assert len(ids) == 327_262  # 336,776 less cancelled, diverted, and New York's last evening of the year
    assert pc.count_distinct(ids).as_py() == len(ids)


def test_a_part_of_the_year_equals_that_part_of_the_whole(months: dict[str, pa.Table]) -> None:
    part = dict(flights.months(3, 4))
    assert list(part) == ["2013-03", "2013-04"]
    assert all(part[window].equals(months[window]) for window in part)


@pytest.mark.parametrize(("first", "last"), [(0, 3), (4, 3), (1, 13)])
def test_months_outside_the_year_are_refused(first: int, last: int) -> None:
    with pytest.raises(InvalidInput, match="1 <= first <= last <= 12"):
        next(flights.months(first, last))


def test_late_shares_are_those_of_2013(months: dict[str, pa.Table]) -> None:
    shares = [round(float(pc.mean(table["late"]).as_py()), 3) for table in months.values()]
    assert shares == [0.233, 0.241, 0.235, 0.288, 0.226, 0.313, 0.324, 0.246, 0.137, 0.175, 0.182, 0.334]


def test_local_times_are_right_across_summer_time_and_zones(months: dict[str, pa.Table]) -> None:
    rows = pa.concat_tables(months.values())
    scheduled = rows["scheduled_at"].to_numpy()
    summer = (scheduled >= np.datetime64("2013-03-10T07:00")) & (scheduled < np.datetime64("2013-11-03T06:00"))
    local = scheduled - np.where(summer, 4, 5).astype("timedelta64[h]")
    hours = local.astype("datetime64[h]").astype(np.int64)
    assert np.array_equal(rows["scheduled_hour"].to_numpy(), hours % 24)
    assert np.array_equal(rows["day_of_week"].to_numpy(), (hours // 24 + 3) % 7 + 1)
    assert rows["block_min"].null_count == 0
    # About an eighth of a minute a mile, and 35 minutes on the ground.
    block, distance = rows["block_min"].to_numpy(), rows["distance_mi"].to_numpy()
    assert np.mean(np.abs(block - (35 + distance * 0.125)) < 60) > 0.99


def test_an_unknown_destination_has_no_block_time(winter: flights.Sources) -> None:
    known = winter.airports.filter(pc.not_equal(winter.airports["faa"], "IAH"))
    rows = flights.features(msgspec.structs.replace(winter, airports=known))
    houston = pc.equal(rows["dest"], "IAH")
    assert rows.filter(houston)["block_min"].null_count == pc.sum(houston).as_py() > 0
    assert rows.filter(pc.invert(houston))["block_min"].null_count == 0


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="uv sync --group demo"):
        flights.read_sources()


def test_files_round_trip_and_are_reproducible(january: pa.Table) -> None:
    read = csv.read_csv(
        io.BytesIO(flights.to_csv(january)),
        convert_options=csv.ConvertOptions(
            column_types=january.schema, strings_can_be_null=False, null_values=[""], quoted_strings_can_be_null=False
        ),
    )
    assert read.equals(january)
    assert flights.to_parquet(january) == flights.to_parquet(january)
    stored = parquet.read_table(io.BytesIO(flights.to_parquet(january)))
    assert stored.cast(january.schema).equals(january)


def read_plain(data: bytes) -> pa.Table:
    return csv.read_csv(io.BytesIO(data), convert_options=csv.ConvertOptions(strings_can_be_null=True))


@pytest.mark.parametrize(
    ("how", "changed"),
    [
        ("carrier_in_lower_case", {"carrier"}),
        ("column_dropped", {"distance_mi"}),
        ("column_added", {"gate"}),
        ("hour_as_text", {"scheduled_hour"}),
        ("weather_lost", set(flights.WEATHER.values())),
        ("distance_in_km", {"distance_mi"}),
    ],
)
def test_damage_changes_only_its_columns(january: pa.Table, how: flights.Damage, changed: set[str]) -> None:
    good, bad = read_plain(flights.to_csv(january)), read_plain(flights.damaged(january, how))
    assert bad.num_rows == good.num_rows
    names = {*good.column_names, *bad.column_names}
    assert {
        name
        for name in names
        if name not in good.column_names or name not in bad.column_names or not good[name].equals(bad[name])
    } == changed


def test_each_damage_has_its_effect(january: pa.Table) -> None:
    lower = read_plain(flights.damaged(january, "carrier_in_lower_case"))
    assert not set(lower["carrier"].unique().to_pylist()) & set(january["carrier"].unique().to_pylist()) - {"9E"}
    km = read_plain(flights.damaged(january, "distance_in_km"))["distance_mi"].to_numpy()
    assert np.allclose(km, january["distance_mi"].to_numpy() * 1.609344, atol=0.05)
    lost = read_plain(flights.damaged(january, "weather_lost"))
    assert all(lost[name].null_count == lost.num_rows for name in flights.WEATHER.values())
    assert read_plain(flights.damaged(january, "hour_as_text"))["scheduled_hour"].type == pa.time32("s")
    with pytest.raises(InvalidInput, match="carrier_in_lower_case"):
        flights.damaged(january, "no_such_damage")  # type: ignore[arg-type]


def test_the_charter_names_the_columns_of_the_files(january: pa.Table) -> None:
    text = Path(flights.__file__).with_name("usecase.yaml").read_text("utf-8")
    charter = msgspec.convert(YAML(typ="safe", pure=True).load(text), Charter)
    assert charter.features.categorical == flights.CATEGORICAL
    assert charter.features.numeric == flights.NUMERIC
    named = {*flights.CATEGORICAL, *flights.NUMERIC, charter.target.column, charter.time_column, *charter.id_columns}
    assert named == set(january.column_names)
    assert set(january["late"].unique().to_pylist()) == {0, int(charter.target.positive)}
