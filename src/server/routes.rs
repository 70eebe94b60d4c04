//! The paths that the service knows, with their methods: for the `Allow` of a 405, and for naming a request's route in
//! the log without the identifiers that stand in its path.

use serde_json::Value;

/// All known paths.
pub(super) struct Routes(Vec<Known>);

/// A path's template, such as `/api/v1/calls/{conversation_id}`.
pub(super) struct Known {
    pub(super) template: String,
    /// As an `Allow` header lists them.
    pub(super) methods: String,
}

impl Routes {
    /// The paths of an OpenAPI document, and some that are only read.
    pub(super) fn of(document: &str, others: &[&str]) -> Self {
        let document: Value = serde_json::from_str(document).expect("the generated document is JSON");
        let paths = document["paths"].as_object().expect("the generated document has paths");
        let documented = paths.iter().map(|(template, operations)| {
            let methods = operations.as_object().expect("a path has operations").keys();
            (template.clone(), methods.map(|method| method.to_uppercase()).collect::<Vec<_>>())
        });
        let others = others.iter().map(|path| ((*path).to_owned(), vec!["GET".to_owned()]));
        let known = documented.chain(others).map(|(template, mut methods)| {
            if methods.iter().any(|method| method == "GET") {
                methods.push("HEAD".to_owned());
            }
            methods.sort();
            Known { template, methods: methods.join(", ") }
        });
        Self(known.collect())
    }

    /// The template that a request's path fits.
    pub(super) fn find(&self, path: &str) -> Option<&Known> {
        self.0.iter().find(|known| fits(&known.template, path))
    }
}

fn fits(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let all_fit = template.split('/').all(|wanted| {
        segments.next().is_some_and(|segment| wanted == segment || (wanted.starts_with('{') && !segment.is_empty()))
    });
    all_fit && segments.next().is_none()
}
