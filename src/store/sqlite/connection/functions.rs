//! SQL functions of this program. Only queries call them: triggers, views and indexes must work in other programs too.

use crate::domain::fold;
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

/// Adds the function `folded(name)`, which returns a name as [`fold`] does. Each reading connection needs it.
pub(in crate::store::sqlite) fn add_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("folded", 1, flags, |context| {
        // Another value than text is in a file that another program changed. It contains no name.
        Ok(context.get_raw(0).as_str().ok().map(fold))
    })
}
