//! SQL functions of this program. Only queries call them: triggers, views and indexes must work in other programs too.

use crate::domain::{contains_from_word, fold};
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

/// Adds the functions `folded(name)`, which returns a name as [`fold`] does, and `from_word(message, text)`, which is
/// [`contains_from_word`]. Each reading connection needs them.
pub(in crate::store::sqlite) fn add_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("folded", 1, flags, |context| {
        // Another value than text is in a file that another program changed. It contains no name.
        Ok(context.get_raw(0).as_str().ok().map(fold))
    })?;
    connection.create_scalar_function("from_word", 2, flags, |context| {
        let [message, text] = [context.get_raw(0).as_str(), context.get_raw(1).as_str()];
        Ok(message.is_ok_and(|message| text.is_ok_and(|text| contains_from_word(message, text))))
    })
}
