//! What an administrator does with the programs, and what they tell.

mod check;
mod health;
mod ports;
mod quickstart;
mod reload;
mod secrets;
mod stopping;
