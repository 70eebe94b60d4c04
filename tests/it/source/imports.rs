//! Imports between the files of the crate, as the layering test looks at them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A path of names: `store`, `sqlite`, `calls`.
pub(crate) type Module = Vec<String>;

/// The source files of a crate, by their modules.
#[derive(Default)]
pub(crate) struct Tree {
    files: BTreeMap<Module, File>,
}

#[derive(Default)]
struct File {
    /// Everything but comments, literals, tests and `use`.
    tokens: Vec<String>,
    /// Paths that `use` names, by their names in the file.
    imports: BTreeMap<String, Vec<String>>,
    /// Imported paths that other files may use by this file's name.
    exports: BTreeMap<String, Vec<String>>,
}

impl Tree {
    /// Reads files by their paths below `src/`, with their text.
    pub(crate) fn new(sources: &[(String, String)]) -> Self {
        let mut tree = Self::default();
        for (path, _) in sources {
            tree.files.insert(module_of(path), File::default());
        }
        for (path, text) in sources {
            let module = module_of(path);
            let (tokens, uses) = without_uses(&without_tests(tokens(text)));
            let mut file = File { tokens, ..File::default() };
            for (public, path, name) in uses {
                if let Some(path) = tree.absolute(&module, &path) {
                    if public {
                        file.exports.insert(name.clone(), path.clone());
                    }
                    file.imports.insert(name, path);
                }
            }
            tree.files.insert(module, file);
        }
        tree
    }

    /// For each file the files that it uses, each with something that it uses of it. Re-exports are followed to where
    /// a thing is defined; to re-export a thing is not to use it.
    pub(crate) fn uses(&self) -> BTreeMap<Module, BTreeMap<Module, String>> {
        let mut uses: BTreeMap<Module, BTreeMap<Module, String>> = BTreeMap::new();
        for (module, file) in &self.files {
            let is_needed = |name: &String| !file.exports.contains_key(name) || file.names(name);
            let imports = file.imports.iter().filter(|(name, _)| is_needed(name));
            let mut paths: Vec<Vec<String>> = imports.map(|(_, path)| path.clone()).collect();
            for path in paths_in(&file.tokens) {
                let imported = file.imports.get(&path[0]).map(|import| [import, &path[1..]].concat());
                paths.extend(self.absolute(module, &path).or(imported));
            }
            let things = uses.entry(module.clone()).or_default();
            for path in paths {
                let (home, rest) = self.home(&path, &mut BTreeSet::new());
                // A module that is imported as such is used where something of it is.
                if let (true, Some(thing)) = (home != *module, rest.first()) {
                    things.entry(home).or_insert_with(|| thing.clone());
                }
            }
        }
        uses
    }

    /// The path from the crate's root, of a path that does not lead out of the crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        let supers = path.iter().take_while(|name| *name == "super").count();
        match path[0].as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([module, &path[1..]].concat()),
            "super" => Some([&module[..module.len().checked_sub(supers)?], &path[supers..]].concat()),
            child => {
                let own = [module, &[child.to_owned()]].concat();
                self.files.contains_key(&own).then(|| [module, path].concat())
            }
        }
    }

    /// Returns the file that defines the thing behind a path, and the rest of the path there.
    fn home(&self, path: &[String], seen: &mut BTreeSet<Vec<String>>) -> (Module, Vec<String>) {
        let length = (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length])).unwrap_or(0);
        let (module, rest) = path.split_at(length);
        if let (Some(file), [name, behind @ ..]) = (self.files.get(module), rest)
            && let Some(next) = file.exports.get(name).or_else(|| file.imports.get(name))
            && seen.insert([module, std::slice::from_ref(name)].concat())
        {
            return self.home(&[next, behind].concat(), seen);
        }
        (module.to_vec(), rest.to_vec())
    }
}

impl File {
    /// Returns true if the name occurs anywhere but in the declaration of a module.
    fn names(&self, name: &str) -> bool {
        let mut before = "";
        self.tokens.iter().any(|token| std::mem::replace(&mut before, token) != "mod" && token == name)
    }
}

/// The shortest way from each file that leads back to it, if there is one.
pub(crate) fn circles(uses: &BTreeMap<Module, BTreeMap<Module, String>>) -> Vec<String> {
    let mut circles = BTreeMap::new();
    for start in uses.keys() {
        let mut before: BTreeMap<&Module, &Module> = BTreeMap::new();
        let mut next = VecDeque::from([start]);
        while let Some(module) = next.pop_front() {
            for used in uses.get(module).into_iter().flat_map(BTreeMap::keys) {
                if !before.contains_key(used) {
                    before.insert(used, module);
                    next.push_back(used);
                }
            }
        }
        if !before.contains_key(start) {
            continue;
        }
        let mut way = vec![start.join("::")];
        let mut at = before[start];
        while at != start {
            way.push(at.join("::"));
            at = before[at];
        }
        way.reverse();
        let members: BTreeSet<_> = way.iter().cloned().collect();
        circles.entry(members).or_insert_with(|| way.join(" -> "));
    }
    circles.into_values().collect()
}

fn module_of(path: &str) -> Module {
    let mut module: Module = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|name| name == "mod" || name == "lib") {
        module.pop();
    }
    module
}

/// Names, `::` and single signs; without comments, strings, characters and lifetimes.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = rest.len() - rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            string_length(rest)
        } else if first == '\'' {
            character_length(rest)
        } else if word > 0 {
            let hashes = rest[word..].len() - rest[word..].trim_start_matches('#').len();
            if matches!(&rest[..word], "r" | "br") && rest[word + hashes..].starts_with('"') {
                let end = format!("\"{}", &rest[word..word + hashes]);
                let begin = word + hashes + 1;
                rest[begin..].find(&end).map_or(rest.len(), |at| begin + at + end.len())
            } else {
                tokens.push(rest[..word].to_owned());
                word
            }
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character between quotes, or of the quote before a lifetime's name.
fn character_length(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[2..].find('\'').filter(|_| !text.starts_with("'\\''")).map_or(4, |end| end + 3),
        Some((at, c)) if text[at + c.len_utf8()..].starts_with('\'') => at + c.len_utf8() + 1,
        _ => 1,
    }
}

/// Leaves modules out that are compiled for tests only.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    const TESTS: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        kept.push(token);
        if kept.len() >= TESTS.len() && kept[kept.len() - TESTS.len()..].iter().eq(&TESTS) {
            kept.truncate(kept.len() - TESTS.len());
            let mut depth = 0;
            for token in tokens.by_ref() {
                match token.as_str() {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    _ => continue,
                }
                if depth == 0 {
                    break;
                }
            }
        }
    }
    kept
}

/// A path that `use` names: whether it is `pub`, the path, and its new name.
type Import = (bool, Vec<String>, String);

/// Splits off what `use` names.
fn without_uses(tokens: &[String]) -> (Vec<String>, Vec<Import>) {
    let (mut kept, mut uses): (Vec<String>, Vec<_>) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let after_path = kept.last().is_some_and(|token| token == "::");
        if tokens[at] != "use" || after_path {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let is_public = match kept.iter().rposition(|token| matches!(token.as_str(), ";" | "}" | "{" | "]")) {
            Some(end) => kept[end + 1..].first().is_some_and(|token| token == "pub"),
            None => kept.first().is_some_and(|token| token == "pub"),
        };
        let end = at + tokens[at..].iter().position(|token| token == ";").unwrap_or(tokens.len() - at);
        let mut paths = Vec::new();
        expand(&tokens[at + 1..end], &[], &mut paths);
        uses.extend(paths.into_iter().map(|(path, name)| (is_public, path, name)));
        at = end;
    }
    (kept, uses)
}

/// Takes the groups of a `use` apart.
fn expand(tree: &[String], before: &[String], paths: &mut Vec<(Vec<String>, String)>) {
    if let Some(open) = tree.iter().position(|token| token == "{") {
        let before = [before, &names_of(&tree[..open])].concat();
        let (mut depth, mut begin) = (0, open + 1);
        for (at, token) in tree.iter().enumerate().skip(open + 1) {
            match token.as_str() {
                "{" => depth += 1,
                "}" if depth > 0 => depth -= 1,
                "," | "}" if depth == 0 => {
                    if begin < at {
                        expand(&tree[begin..at], &before, paths);
                    }
                    begin = at + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let (path, alias) = match tree.iter().position(|token| token == "as") {
        Some(at) => (&tree[..at], tree.get(at + 1)),
        None => (tree, None),
    };
    let mut path = [before, &names_of(path)].concat();
    if path.len() > 1 && path.last().is_some_and(|name| name == "self") {
        path.pop();
    }
    if let Some(name) = alias.or(path.last()).cloned() {
        paths.push((path, name));
    }
}

fn names_of(tokens: &[String]) -> Vec<String> {
    tokens.iter().filter(|token| *token != "::").cloned().collect()
}

/// The paths of more than one name.
fn paths_in(tokens: &[String]) -> Vec<Vec<String>> {
    let is_name = |token: &String| token.chars().all(|c| c.is_alphanumeric() || c == '_');
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let mut path = Vec::new();
        while at < tokens.len() && is_name(&tokens[at]) {
            path.push(tokens[at].clone());
            if tokens.get(at + 1).is_none_or(|token| token != "::") {
                break;
            }
            at += 2;
        }
        if path.len() > 1 {
            paths.push(path);
        }
        at += 1;
    }
    paths
}

#[test]
fn imports_are_found_in_whatever_form() {
    let source = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let tree = Tree::new(&[
        source("lib.rs", "pub mod a; pub mod b; pub mod c;"),
        source("a/mod.rs", "mod inner; pub use inner::Thing; fn i() {} /* crate::c::No */ // crate::c::No\n"),
        source("a/inner.rs", "pub struct Thing; const TEXT: &str = \"crate::c::No\"; const C: char = '\"';"),
        source("b.rs", "use crate::{a::{self, Thing}, c}; fn f<'a>() -> u8 { c::number(r#\"\"crate::a::No\"#) }"),
        source(
            "c.rs",
            "pub fn number() {} #[cfg(test)] mod tests { use crate::b::f; fn g() {} } fn h() { super::a::i() }",
        ),
    ]);
    let imports = tree.uses();
    let used =
        |module: &str| -> Vec<String> { imports[&module_of(module)].keys().map(|used| used.join("::")).collect() };
    assert_eq!(used("b.rs"), ["a::inner", "c"], "re-exports are followed, and groups are read");
    assert_eq!(used("c.rs"), ["a"], "tests are left out");
    assert!(used("a/mod.rs").is_empty(), "to re-export is not to use");
    assert!(used("a/inner.rs").is_empty(), "texts are left out");
    assert!(circles(&imports).is_empty());
    let tree = Tree::new(&[
        source("lib.rs", ""),
        source("a.rs", "use crate::b::B;"),
        source("b.rs", "pub struct B(crate::c::C);"),
        source("c.rs", "use super::a; pub struct C; fn f() { a::f() }"),
    ]);
    assert_eq!(circles(&tree.uses()), ["b -> c -> a"].map(str::to_owned));
}
