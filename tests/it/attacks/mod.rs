//! What an attacker tries, and what must hold against it.

mod access;
mod proxies;
