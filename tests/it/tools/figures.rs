//! One meaning of each figure: sqlite3, pandas, DuckDB, the API, the table of calls and the page compute the same
//! numbers of the same calls.

use crate::support::browser::Page;
use crate::support::export::exported;
use crate::support::sample_calls::load_sample_calls;
use crate::support::service::Service;
use crate::support::tools::{blocks, output, tool};
use crate::support::understood::change;
use crate::support::whole_call::SECRET;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Number of sample calls.
const CALLS: u32 = 300;

/// Calls that statistics count, as a condition on `call_overview`.
const COUNTED: &str = "(environment IS NULL OR environment = 'production') AND parent_conversation_id IS NULL \
    AND (initiation_source IS NULL OR initiation_source <> 'subagent_tool')";

/// A duration that counts in averages.
const SECONDS: &str = "CASE WHEN status = 'failed' AND duration_seconds = 0 THEN NULL ELSE duration_seconds END";

/// Monday of the week of a call's start, in SQLite.
const MONDAY: &str = "date(call_start_time, 'weekday 0', '-6 days')";

/// Figures of the calls of one driver, or of unknown ones, in one week.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    calls: u64,
    with_duration: u64,
    seconds: u64,
}

/// The figures of all calls, as one program computes them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    all: Sum,
    /// Mean duration in seconds, with three digits.
    mean: String,
    /// Number of spoken and typed turns of agent and drivers. The table of calls has none.
    spoken_turns: Option<u64>,
    /// Number of stored turns, also superseded ones. Statistics have none.
    stored_turns: Option<u64>,
    /// Figures by driver and by the Monday of the week in UTC.
    weeks: BTreeMap<(Option<u64>, String), Sum>,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures are small and not negative")]
fn rounded(number: f64) -> u64 {
    number.round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "figures are small")]
fn float(number: u64) -> f64 {
    number as f64
}

fn sum(row: &Value) -> Sum {
    let number = |name: &str| rounded(row[name].as_f64().unwrap_or_default());
    Sum { calls: number("calls"), with_duration: number("with_duration"), seconds: number("seconds") }
}

/// Reads what a program wrote as JSON: `all`, `mean`, `spoken_turns`, `stored_turns`, and `weeks` as a list of rows.
fn figures(text: &str) -> Figures {
    let read: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    let weeks = read["weeks"].as_array().unwrap().iter();
    Figures {
        all: sum(&read["all"]),
        mean: format!("{:.3}", read["mean"].as_f64().unwrap()),
        spoken_turns: read["spoken_turns"].as_u64(),
        stored_turns: read["stored_turns"].as_u64(),
        weeks: weeks
            .map(|row| ((row["driver"].as_u64(), row["week"].as_str().unwrap().to_owned()), sum(row)))
            .collect(),
    }
}

/// Returns the queries of the figures, for any SQL: each gives one row, but `weeks` one a driver and week.
fn queries(prefix: &str, monday: &str) -> [(&'static str, String); 3] {
    let sums = format!("count(*) AS calls, count({SECONDS}) AS with_duration, sum({SECONDS}) AS seconds");
    let calls = format!("{prefix}call_overview WHERE {COUNTED}");
    [
        ("all", format!("SELECT {sums}, avg({SECONDS}) AS mean, sum(turn_count) AS stored_turns FROM {calls}")),
        (
            "spoken",
            format!(
                "SELECT count(*) AS turns FROM {prefix}transcript WHERE kind IN ('speech', 'text') \
                 AND said_by IN ('agent', 'driver') AND conversation_id IN (SELECT conversation_id FROM {calls})"
            ),
        ),
        (
            "weeks",
            format!("SELECT driver_id AS driver, CAST({monday} AS TEXT) AS week, {sums} FROM {calls} GROUP BY 1, 2"),
        ),
    ]
}

fn by_sqlite3(folder: &Path) -> Figures {
    let ask = |sql: &str| -> Value {
        let text = output(Command::new("sqlite3").args(["-readonly", "-json", "calls.db", sql]), folder);
        serde_json::from_str(&text).unwrap()
    };
    let [all, spoken, weeks] = queries("", MONDAY).map(|(_, sql)| ask(&sql));
    let made = json!({"all": all[0], "mean": all[0]["mean"], "stored_turns": all[0]["stored_turns"],
        "spoken_turns": spoken[0]["turns"], "weeks": weeks});
    figures(&made.to_string())
}

fn by_duckdb(folder: &Path) -> Figures {
    const PROGRAM: &str = r#"
import duckdb, json, sys

db = duckdb.connect()
db.sql("ATTACH 'calls.db' AS hook (TYPE sqlite, READ_ONLY)")
def rows(sql):
    found = db.sql(sql)
    return [dict(zip(found.columns, row)) for row in found.fetchall()]
queries = json.loads(sys.argv[1])
[all], [spoken], weeks = (rows(queries[name]) for name in ("all", "spoken", "weeks"))
print(json.dumps({"all": all, "mean": all["mean"], "stored_turns": int(all["stored_turns"]),
                  "spoken_turns": spoken["turns"], "weeks": weeks}, default=int))
"#;
    let monday = "CAST(date_trunc('week', CAST(call_start_time AS TIMESTAMP)) AS DATE)";
    let queries: BTreeMap<_, _> = queries("hook.", monday).into();
    figures(&output(tool("python").args(["-c", PROGRAM, &json!(queries).to_string()]), folder))
}

/// Computes the figures of a table of calls in pandas. `make` reads it as `calls`, and `spoken_turns`.
fn by_pandas(make: &str, folder: &Path) -> Figures {
    const PROGRAM: &str = r#"
start = pd.to_datetime(calls["call_start_time"], format="ISO8601").dt.tz_localize(None)
calls["week"] = (start - pd.to_timedelta(start.dt.dayofweek, unit="D")).dt.strftime("%Y-%m-%d")
calls = calls[calls["environment"].isna() | (calls["environment"] == "production")]
calls = calls[calls["parent_conversation_id"].isna()]
calls["seconds"] = calls["duration_seconds"].mask((calls["status"] == "failed") & (calls["duration_seconds"] == 0))
def sums(some):
    return {"calls": len(some), "with_duration": int(some["seconds"].count()), "seconds": int(some["seconds"].sum())}
weeks = [{"driver": None if pd.isna(driver) else int(driver), "week": week, **sums(some)}
         for (driver, week), some in calls.groupby(["driver_id", "week"], dropna=False)]
print(json.dumps({"all": sums(calls), "mean": calls["seconds"].mean(), "stored_turns": int(calls["turn_count"].sum()),
                  "spoken_turns": spoken_turns, "weeks": weeks}))
"#;
    let program = format!("import json, sqlite3\nimport pandas as pd\n\n{make}\n{PROGRAM}");
    figures(&output(tool("python").args(["-c", &program]), folder))
}

const FROM_THE_FILE: &str = r#"
file = sqlite3.connect("file:calls.db?mode=ro", uri=True)
calls = pd.read_sql("SELECT * FROM call_overview", file)
calls = calls[calls["initiation_source"].isna() | (calls["initiation_source"] != "subagent_tool")]
turns = pd.read_sql("SELECT * FROM transcript", file)
turns = turns[turns["kind"].isin(["speech", "text"]) & turns["said_by"].isin(["agent", "driver"])]
counted = calls[calls["environment"].isna() | (calls["environment"] == "production")]
counted = counted[counted["parent_conversation_id"].isna()]
spoken_turns = int(turns["conversation_id"].isin(counted["conversation_id"]).sum())
"#;

const FROM_THE_TABLE_OF_CALLS: &str = "calls = pd.read_csv('calls.csv')\nspoken_turns = None\n";

/// Returns the Monday of the week of a day.
fn monday(day: &str) -> String {
    let day: jiff::civil::Date = day.parse().unwrap();
    let since_monday = i64::from(day.weekday().to_monday_zero_offset());
    (day - jiff::Span::new().days(since_monday)).to_string()
}

fn sum_of_stats(stats: &Value) -> Sum {
    let number = |name: &str| rounded(stats[name].as_f64().unwrap());
    Sum { calls: number("calls"), with_duration: number("with_duration"), seconds: number("duration_seconds") }
}

/// Returns the figures of the statistics, by driver and by the Monday of the week.
fn weeks_of_stats(service: &Service) -> BTreeMap<(Option<u64>, String), Sum> {
    let stats = |query: &str| service.get(&format!("/api/v1/stats?{query}")).expect(200).json();
    let whole = stats("");
    let mut weeks: BTreeMap<_, Sum> = BTreeMap::new();
    let drivers = whole["drivers"].as_array().unwrap();
    assert_eq!(whole["more_drivers"], false);
    for driver in drivers.iter().map(|row| row["driver_id"].as_u64()) {
        let query = driver.map_or_else(|| "has_driver=false".to_owned(), |id| format!("driver_id={id}"));
        for day in stats(&query)["days"].as_array().unwrap() {
            let week = weeks.entry((driver, monday(day["date"].as_str().unwrap()))).or_default();
            let of_day = sum_of_stats(day);
            week.calls += of_day.calls;
            week.with_duration += of_day.with_duration;
            week.seconds += of_day.seconds;
        }
    }
    weeks
}

fn by_api(service: &Service) -> Figures {
    let whole = service.get("/api/v1/stats").expect(200).json();
    let all = &whole["all"];
    let weeks = weeks_of_stats(service);
    // A list has the number of stored turns of each call.
    let list = service.get("/api/v1/calls?limit=1000").expect(200).json();
    assert_eq!(list["has_more"], false);
    let counted = |call: &&Value| call["environment"].is_null() || call["environment"] == "production";
    let calls: Vec<_> = list["data"].as_array().unwrap().iter().filter(counted).collect();
    assert_eq!(calls.len() as u64, all["calls"].as_u64().unwrap());
    let turns = |side: &str| all[side]["turns"].as_u64().unwrap();
    Figures {
        all: sum_of_stats(all),
        mean: format!("{:.3}", all["mean_seconds"].as_f64().unwrap()),
        spoken_turns: Some(turns("agent") + turns("driver")),
        stored_turns: Some(calls.iter().map(|call| call["turn_count"].as_u64().unwrap()).sum()),
        weeks,
    }
}

/// Returns a documented query's calls and mean length, in milliseconds, by driver and week.
fn documented_weeks(service: &Service, folder: &Path) -> BTreeMap<(u64, String), (u64, Option<u64>)> {
    const CHECK: &str = r"
import json
print(json.dumps([[int(driver), str(week.date()), int(count), None if pd.isna(mean) else float(mean)]
                  for (driver, week), count, mean in lengths.itertuples()]))
";
    let table = exported(service.database(), &["--format", "calls-csv"]);
    std::fs::write(folder.join("calls.csv"), table).unwrap();
    let program = format!("{}\n{CHECK}", blocks("python")[2]);
    let printed = output(tool("python").args(["-c", &program]), folder);
    let rows: Vec<(u64, String, u64, Option<f64>)> = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    rows.into_iter()
        .map(|(driver, week, calls, mean)| ((driver, week), (calls, mean.map(|mean| rounded(mean * 1000.0)))))
        .collect()
}

#[test]
fn the_documented_queries_give_the_numbers_of_the_statistics() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_on(&folder.path().join("calls.db"), &["--elevenlabs-secret", SECRET]);
    load_sample_calls(&service, CALLS);
    let insert = |id: &str, column: &str, value: &str| {
        let sql = format!(
            "INSERT INTO calls (conversation_id, driver_id, driver_source, call_start_time, call_end_time, status, \
             duration_seconds, {column}, created_at, updated_at) SELECT '{id}', driver_id, driver_source, \
             call_start_time, call_end_time, 'completed', 5000, '{value}', created_at, updated_at FROM calls \
             WHERE driver_id IS NOT NULL AND call_end_time IS NOT NULL LIMIT 1"
        );
        change(&service, &sql);
    };
    // Calls that do not count, each for another reason.
    insert("conv_parent", "parent_conversation_id", "conv_other");
    insert("conv_source", "initiation_source", "subagent_tool");
    insert("conv_environment", "environment", "staging");

    let days = service.get("/api/v1/stats").expect(200).json()["days"].as_array().unwrap().clone();
    let by_api: Vec<_> = days
        .iter()
        .map(|day| {
            (day["date"].clone(), day["calls"].as_u64(), day["completed"].as_u64(), day["mean_seconds"].as_f64())
        })
        .map(|(date, calls, completed, mean)| (date, calls, completed, mean.map(rounded)))
        .collect();
    let sql = blocks("sql").remove(0);
    // A comment at its start would be read as a flag.
    let query = sql.split_inclusive(';').next().and_then(|query| query.get(query.find("SELECT")?..)).unwrap();
    let printed = output(Command::new("sqlite3").args(["-readonly", "-json", "calls.db", query]), folder.path());
    let rows: Value = serde_json::from_str(&printed).unwrap();
    let by_sql: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|day| (day["day"].clone(), day["calls"].as_u64(), day["completed"].as_u64(), day["seconds"].as_f64()))
        .map(|(date, calls, completed, mean)| (date, calls, completed, mean.map(rounded)))
        .collect();
    assert_eq!(by_sql, by_api);
    assert!(by_api.len() > 5, "{} days", by_api.len());

    let by_api: BTreeMap<_, _> = by_api_weeks(&service);
    assert_eq!(documented_weeks(&service, folder.path()), by_api);
    assert!(by_api.len() > 50, "{} rows", by_api.len());
}

/// Returns the API's calls and mean length, in milliseconds, by driver and week.
fn by_api_weeks(service: &Service) -> BTreeMap<(u64, String), (u64, Option<u64>)> {
    let weeks = weeks_of_stats(service).into_iter();
    let known = weeks.filter_map(|((driver, week), sum)| Some(((driver?, week), sum)));
    known
        .map(|(key, Sum { calls, with_duration, seconds })| {
            let mean = (with_duration > 0).then(|| rounded(float(seconds) * 1000.0 / float(with_duration)));
            (key, (calls, mean))
        })
        .collect()
}

/// Formats a duration as the page does.
fn shown(seconds: f64) -> String {
    let whole = rounded(seconds);
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{rest:02}") } else { format!("{minutes}:{rest:02}") }
}

#[test]
fn every_program_and_the_page_compute_the_same_figures() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_on(&folder.path().join("calls.db"), &["--elevenlabs-secret", SECRET]);
    let expected = load_sample_calls(&service, CALLS);
    let table = service.get("/api/v1/export?format=calls-csv&include_children=false").expect(200).text;
    std::fs::write(folder.path().join("calls.csv"), table).unwrap();

    let api = by_api(&service);
    let whole = by_sqlite3(folder.path());
    assert_eq!(api, whole, "the API and sqlite3");
    assert_eq!(by_duckdb(folder.path()), whole, "DuckDB and sqlite3");
    assert_eq!(by_pandas(FROM_THE_FILE, folder.path()), whole, "pandas and sqlite3");
    let of_table = by_pandas(FROM_THE_TABLE_OF_CALLS, folder.path());
    assert_eq!(Figures { spoken_turns: whole.spoken_turns, ..of_table }, whole, "the table of calls and sqlite3");

    // What the loader knows without the service: calls of known length that a person answered.
    assert_eq!(expected["statistics"]["calls"], whole.all.calls);
    let sql = format!(
        "SELECT driver_id AS driver, {MONDAY} AS week, count(*) AS calls, sum(duration_seconds) AS seconds \
         FROM call_overview WHERE {COUNTED} AND answered_by = 'human' AND driver_id IS NOT NULL \
         AND duration_seconds IS NOT NULL GROUP BY 1, 2"
    );
    let answered = output(Command::new("sqlite3").args(["-readonly", "-json", "calls.db", &sql]), folder.path());
    let answered: Value = serde_json::from_str(&answered).unwrap();
    let rows = |list: &Value, driver: &str| -> BTreeSet<(u64, String, u64, u64)> {
        let number = |row: &Value, name: &str| rounded(row[name].as_f64().unwrap());
        let row = |row: &Value| {
            (
                number(row, driver),
                row["week"].as_str().unwrap().to_owned(),
                number(row, "calls"),
                number(row, "seconds"),
            )
        };
        list.as_array().unwrap().iter().map(row).collect()
    };
    let (made, computed) = (rows(&expected["driver_weeks"], "driver_id"), rows(&answered, "driver"));
    assert_eq!(computed, made);
    assert!(made.len() > 50, "{} rows", made.len());

    let names: BTreeMap<u64, String> = service.get("/api/v1/drivers?limit=1000").expect(200).json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|driver| (driver["id"].as_u64().unwrap(), driver["name"].as_str().unwrap().to_owned()))
        .collect();
    let first = whole.weeks.keys().map(|(_, week)| week.clone()).min().unwrap();
    let page = Page::open(
        &service.url(&format!("/?view=stats&from={first}&to=2026-10-04")),
        json!({"zone": "UTC", "now": "2026-09-30T12:00:00Z"}),
    );
    let mean: f64 = whole.mean.parse().unwrap();
    page.step(
        "figures",
        json!({"tiles": {
            "Calls": whole.all.calls.to_string(),
            "Mean length": format!("{} {} in total", shown(mean), shown(float(whole.all.seconds))),
            "Turns": grouped(whole.spoken_turns.unwrap()),
        }}),
    );
    for week in whole.weeks.keys().map(|(_, week)| week).collect::<BTreeSet<_>>() {
        let of_week = whole.weeks.iter().filter(|((_, of), _)| of == week);
        let drivers: BTreeMap<_, _> = of_week
            .map(|((driver, _), sum)| {
                let name = driver.map_or_else(|| "Unknown driver".to_owned(), |id| names[&id].clone());
                let mean = if sum.with_duration == 0 {
                    "–".to_owned()
                } else {
                    shown(float(sum.seconds) / float(sum.with_duration))
                };
                (name, [sum.calls.to_string(), mean])
            })
            .collect();
        let monday: jiff::civil::Date = week.parse().unwrap();
        let sunday = monday + jiff::Span::new().days(6);
        page.step(
            "driversOfWeek",
            json!({"path": format!("/?view=stats&from={monday}&to={sunday}"), "drivers": drivers}),
        );
    }
}

/// Formats a number as the page does.
fn grouped(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", grouped(number / 1000), number % 1000) }
}
