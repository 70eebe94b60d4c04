//! A disk that fails in all ways at once: errors in any operation on any file of the database, full disks, processes
//! that are killed between and within operations, and other processes that commit in between. After each round
//! everything that was acknowledged must be there exactly once, without a gap, and `check` must find nothing.
//!
//! It takes some seconds, so that every change passes it; `FAULT_MINUTES=10` makes it a long one. What is sent and what
//! fails is drawn from a seed, which is printed; `FAULT_SEED` sets it.

mod ledger;
mod shim;

use crate::support::database::assert_sound;
use crate::support::random::Random;
use crate::support::service::{Answer, Service, wait_for};
use ledger::{Ledger, TURNS_PER_LONG_ONE, body};
use rusqlite::Connection;
use shim::{DATABASE, Fault, MAP, OPEN, Plan, READ, SHM, SYNC, Shim, TRUNCATE, WAL, WRITE};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Batches of a round, after which all is compared.
const BATCHES: usize = 40;

/// Calls that are not erased yet.
const CALLS: usize = 12;

const FLAGS: [&str; 4] = ["--write-timeout", "2s", "--log-level", "info,http=off"];

struct Run {
    random: Random,
    shim: Shim,
    database: PathBuf,
    service: Option<Service>,
    ledger: Ledger,
    calls: usize,
    turns: usize,
    kills: usize,
}

/// The response to a request; `None` if the process was killed.
type Reply = Option<Answer>;

impl Run {
    fn service(&self) -> &Service {
        self.service.as_ref().expect("it runs")
    }

    fn start(&mut self) {
        self.shim.clear();
        self.service = Some(Service::start_command(self.shim.binary(&self.database), &self.database, &FLAGS));
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len())]
    }

    fn number(&mut self, below: usize) -> u32 {
        u32::try_from(self.random.below(below)).unwrap()
    }

    /// Lets something fail from now on: anything, or what moves the WAL into the database.
    fn arm(&mut self) {
        let fault = match self.random.below(20) {
            0 => Fault::KillBefore,
            1 => Fault::KillAfter,
            2 => Fault::KillWithin,
            3..6 => Fault::Short,
            6..12 => Fault::DiskFull,
            _ => Fault::IoError,
        };
        let (files, operations) = if self.random.below(3) == 0 {
            (DATABASE, self.pick(&[WRITE, SYNC, TRUNCATE]))
        } else {
            let files = self.pick(&[DATABASE, WAL, WAL, SHM, DATABASE | WAL | SHM]);
            let all = WRITE | SYNC | TRUNCATE | OPEN | MAP | READ;
            (files, self.pick(&[WRITE, WRITE, SYNC, TRUNCATE, READ, OPEN | MAP | TRUNCATE, WRITE | SYNC, all]))
        };
        let skip = if self.random.below(3) > 0 || operations == SYNC { self.number(4) } else { self.number(60) };
        let times = self.pick(&[1, 1, 2, 5, 1000]);
        self.shim.follow(Plan { files, operations, skip, times, fault });
    }

    /// A call of the last few.
    fn call(&mut self) -> String {
        if self.calls == 0 || self.random.below(30) == 0 {
            self.calls += 1;
        }
        let back = self.random.below(3).min(self.calls - 1);
        format!("conv_{:06}", self.calls - back)
    }

    /// Several turns at once.
    fn send(&mut self) {
        // Now and then so much that the WAL is soon moved into the database.
        let (count, step) =
            if self.random.below(15) == 0 { (50, TURNS_PER_LONG_ONE) } else { (self.pick(&[1, 1, 2, 4, 8]), 1) };
        let mut turns = Vec::new();
        for _ in 0..count {
            self.turns = self.turns / step * step + step;
            turns.push((self.call(), self.turns));
        }
        self.deliver(&turns);
    }

    fn deliver(&mut self, turns: &[(String, usize)]) {
        let service = self.service();
        let replies: Vec<Reply> = std::thread::scope(|scope| {
            let sent: Vec<_> =
                turns.iter().map(|(id, n)| scope.spawn(move || service.try_deliver(&body(id, *n)).ok())).collect();
            sent.into_iter().map(|reply| reply.join().unwrap()).collect()
        });
        let mut killed = false;
        for ((id, n), reply) in turns.iter().zip(replies) {
            self.ledger.sent(id, *n);
            match reply {
                Some(answer) => self.ledger.answered(id, *n, &answer),
                None => killed = true,
            }
        }
        if killed {
            self.restart();
        }
    }

    /// Another process commits.
    fn commit_beside(&mut self) {
        let id = i64::try_from(self.ledger.drivers.len()).unwrap() + 1;
        let connection = Connection::open(&self.database).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        if self.random.below(2) == 0 {
            connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        }
        let time = "2026-09-28T12:00:00.000000Z";
        let committed = connection.execute(
            "INSERT INTO drivers (id, name, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)",
            (id, "n".repeat(self.random.below(60_000)), time),
        );
        assert_eq!(committed, Ok(1), "nothing fails in this process");
        self.ledger.drivers.insert(id);
    }

    /// Erases a call, or tries to; it stays in the ledger until that has gone well.
    fn erase(&mut self, id: &str) -> bool {
        let service = self.service();
        let Ok(answer) = service.try_delete(&format!("/api/v1/calls/{id}")) else {
            self.restart();
            return false;
        };
        assert!([204, 404, 500, 503].contains(&answer.status), "{}: {}", answer.status, answer.text);
        let gone = answer.status == 204 || answer.status == 404;
        if gone {
            self.ledger.erased(id);
        }
        gone
    }

    /// After a kill.
    fn restart(&mut self) {
        let (status, _) = self.service.take().expect("it ran").wait();
        assert_eq!(status.signal(), Some(9), "it ends only when it is killed: {status}");
        self.kills += 1;
        // Others may come first, and opening may fail as well.
        for _ in 0..self.random.below(3) {
            if self.random.below(2) == 0 {
                self.commit_beside();
            }
            self.arm();
            let _ = self
                .shim
                .binary(&self.database)
                .args(["migrate", "--create", "--database"])
                .arg(&self.database)
                .output();
        }
        self.start();
    }

    fn batch(&mut self) {
        match self.random.below(6) {
            0 | 1 => self.arm(),
            2 => self.shim.clear(),
            _ => {}
        }
        match self.random.below(12) {
            0 => self.commit_beside(),
            1 => {
                if let Some(id) = self.ledger.oldest_beyond(CALLS) {
                    self.erase(&id);
                }
            }
            2 if self.random.below(4) == 0 => {
                self.service().signal("KILL");
                self.restart();
            }
            _ => self.send(),
        }
    }

    /// With nothing failing any more, what had no answer is sent again, and all is compared.
    fn settle(&mut self, case: &str) {
        self.shim.clear();
        wait_for("all turns to be acknowledged", || {
            let unknown = self.ledger.unknown();
            self.deliver(&unknown);
            self.ledger.unknown().is_empty().then_some(())
        });
        while let Some(id) = self.ledger.oldest_beyond(CALLS) {
            wait_for("a call to be erased", || self.erase(&id).then_some(()));
        }
        self.compare(case);
        match self.random.below(6) {
            0 => {
                self.service.take().expect("it runs").stop();
                self.compare(&format!("{case}, stopped"));
                self.start();
            }
            1 => {
                self.service().signal("KILL");
                self.restart();
                self.compare(&format!("{case}, killed"));
            }
            2 | 3 => {
                self.arm();
                let service = self.service.take().expect("it runs");
                service.signal("TERM");
                service.wait();
                self.start();
                self.compare(&format!("{case}, stopped while something fails"));
            }
            _ => {}
        }
    }

    fn compare(&self, case: &str) {
        assert_sound(&self.database, case);
        self.ledger.compare(&self.database, case);
    }
}

fn length() -> Duration {
    match std::env::var("FAULT_MINUTES") {
        Ok(minutes) => Duration::from_secs_f64(minutes.parse::<f64>().expect("FAULT_MINUTES is a number") * 60.0),
        Err(_) => Duration::from_secs(8),
    }
}

fn seed() -> u64 {
    match std::env::var("FAULT_SEED") {
        Ok(seed) => seed.parse().expect("FAULT_SEED is a number"),
        Err(_) => u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap(),
    }
}

#[test]
fn whatever_fails_below_what_was_acknowledged_is_there_once_and_without_a_gap() {
    let (seed, length, started) = (seed(), length(), Instant::now());
    println!("FAULT_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let shim = Shim::build();
    let mut run = Run {
        random: Random::new(seed),
        shim,
        database,
        service: None,
        ledger: Ledger::default(),
        calls: 0,
        turns: 0,
        kills: 0,
    };
    run.start();
    let mut batches = 0;
    for round in 0.. {
        for _ in 0..BATCHES {
            run.batch();
            batches += 1;
        }
        run.settle(&format!("FAULT_SEED={seed}, round {round}"));
        if started.elapsed() > length {
            break;
        }
    }
    let hits = run.shim.hits();
    println!(
        "in {:?}: {batches} batches, {} turns, {} kills, {} commits beside; failed writes, syncs, truncations, \
         openings, mappings and reads of the database {:?}, its WAL {:?} and its shared memory {:?}",
        started.elapsed(),
        run.ledger.acknowledged,
        run.kills,
        run.ledger.drivers.len(),
        hits[0],
        hits[1],
        hits[2]
    );
    assert!(hits.as_flattened().iter().sum::<u32>() > 0 && run.ledger.acknowledged > BATCHES);
}
