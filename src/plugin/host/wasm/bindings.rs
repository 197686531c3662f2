//! The world `handler` of `src/plugin/wit/iterd.wit` in Rust, made from that file at compile time.
//!
//! Owns the types that cross into a component and nothing else.

wasmtime::component::bindgen!({
    path: "src/plugin/wit",
    world: "handler",
    ownership: Borrowing { duplicate_if_necessary: false },
});
