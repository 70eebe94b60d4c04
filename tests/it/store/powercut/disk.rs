//! A disk that loses what was not synced: built from recorded events, it tells what a power cut may leave.
//!
//! The disk keeps the promises of POSIX, and nothing more: a sync of a file keeps its content and size, a sync of the
//! folder keeps names. All else may have reached the disk or not, content by sectors of 512 bytes, in any order but
//! that a sector holds one of the states it went through. Names change in order, as in a journalling file system.

use crate::support::random::Random;
use crate::support::recorder::Event;
use std::collections::{BTreeMap, HashMap};

const SECTOR: usize = 512;

/// The unsynced part that has reached the disk all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Luck {
    Nothing,
    Half,
    Everything,
}

/// The files of one folder, each as it was last synced and with what was done to it since.
#[derive(Default)]
pub(super) struct Disk {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    unsynced_names: Vec<NameChange>,
}

#[derive(Default)]
struct File {
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Write { offset: usize, data: Vec<u8> },
    Resize(usize),
}

enum NameChange {
    Add(String, usize),
    Remove(String),
    Rename(String, String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Add(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
}

impl Disk {
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Created(name) => {
                self.files.push(File::default());
                self.change_names(NameChange::Add(name.clone(), self.files.len() - 1));
            }
            Event::Written { name, offset, data } => {
                self.file(name).unsynced.push(Change::Write { offset: *offset, data: data.clone() });
            }
            Event::Resized { name, length } => self.file(name).unsynced.push(Change::Resize(*length)),
            Event::Synced(name) => self.file(name).sync(),
            Event::FolderSynced => {
                self.synced_names = self.names.clone();
                self.unsynced_names.clear();
            }
            Event::Removed(name) => self.change_names(NameChange::Remove(name.clone())),
            Event::Renamed { from, to } => self.change_names(NameChange::Rename(from.clone(), to.clone())),
            Event::Answered(_) => {}
        }
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    fn file(&mut self, name: &str) -> &mut File {
        let file = *self.names.get(name).unwrap_or_else(|| panic!("{name} was used, but its creation not recorded"));
        &mut self.files[file]
    }

    /// The files that are found when the power comes back.
    pub(super) fn after_power_cut(&self, luck: Luck, random: &mut Random) -> BTreeMap<String, Vec<u8>> {
        let changes = self.unsynced_names.len();
        let kept = match luck {
            Luck::Nothing => 0,
            Luck::Half => random.below(changes + 1),
            Luck::Everything => changes,
        };
        let mut names = self.synced_names.clone();
        for change in &self.unsynced_names[..kept] {
            change.apply(&mut names);
        }
        names.into_iter().map(|(name, file)| (name, self.files[file].after_power_cut(luck, random))).collect()
    }
}

impl File {
    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Write { offset, data } => put(&mut self.synced, offset, &data),
                Change::Resize(length) => self.synced.resize(length, 0),
            }
        }
    }

    fn after_power_cut(&self, luck: Luck, random: &mut Random) -> Vec<u8> {
        let mut content = self.synced.clone();
        if luck == Luck::Nothing {
            return content;
        }
        let mut writes_kept = self.writes_kept(luck, random);
        for change in &self.unsynced {
            match change {
                Change::Write { offset, data } => {
                    for (at, part) in sectors(*offset, data) {
                        let kept = writes_kept.get_mut(&(at / SECTOR)).expect("each sector was counted");
                        if *kept > 0 {
                            *kept -= 1;
                            put(&mut content, at, part);
                        } else if at + part.len() > content.len() && random.coin() {
                            // The new size has reached the disk, the data has not.
                            content.resize(at + part.len(), 0);
                        }
                    }
                }
                Change::Resize(length) => {
                    if luck == Luck::Everything || random.coin() {
                        content.resize(*length, 0);
                    }
                }
            }
        }
        content
    }

    /// For each sector, how many of the writes to it have reached the disk: any number of the first ones.
    fn writes_kept(&self, luck: Luck, random: &mut Random) -> HashMap<usize, usize> {
        let mut writes: BTreeMap<usize, usize> = BTreeMap::new();
        for change in &self.unsynced {
            if let Change::Write { offset, data } = change {
                for (at, _) in sectors(*offset, data) {
                    *writes.entry(at / SECTOR).or_default() += 1;
                }
            }
        }
        let mut keep = |all| if luck == Luck::Everything { all } else { random.below(all + 1) };
        writes.into_iter().map(|(sector, all)| (sector, keep(all))).collect()
    }
}

/// The parts of a write that fall into one sector each, with their places.
fn sectors(offset: usize, data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = offset;
    let mut rest = data;
    std::iter::from_fn(move || {
        let (part, tail) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
        let place = at;
        at += part.len();
        rest = tail;
        (!part.is_empty()).then_some((place, part))
    })
}

fn put(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(data);
}
