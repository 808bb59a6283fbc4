//! The host calls: <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>, and the WASI functions that
//! modules of Rust need. Each call is first held against the law of the host, then against what the test answers in its
//! place, and then carried out.

mod bodies;
mod callouts;
mod headers;
mod measures;
mod other;
mod wasi;

use wasmi::{Caller, Engine, Error, ExternType, FuncType, Linker, Val, ValType};

use crate::guest::{Arguments, Guest, Link};
use crate::law::{Rule, forbidden};

/// Carries a host call out; its status.
type Handler = fn(&mut Guest<'_>, &Arguments<'_>) -> Result<u32, Error>;

/// Name; arguments (`i` 32 bits, `l` 64 bits, `o` and `O`: where 32 or 64 bits are written to); handler.
type Import = (&'static str, &'static str, Handler);

const ENV: &str = "env";
const WASI: &str = "wasi_snapshot_preview1";

const PROXY: &[Import] = &[
    ("proxy_log", "iii", other::log),
    ("proxy_get_current_time_nanoseconds", "O", other::current_time),
    ("proxy_set_tick_period_milliseconds", "i", other::set_tick_period),
    ("proxy_set_effective_context", "i", other::set_effective_context),
    ("proxy_done", "", other::done),
    ("proxy_get_status", "ooo", other::unimplemented),
    ("proxy_get_log_level", "o", other::log_level),
    ("proxy_get_buffer_bytes", "iiioo", bodies::get),
    ("proxy_set_buffer_bytes", "iiiii", bodies::set),
    ("proxy_get_buffer_status", "ioo", bodies::status_of),
    ("proxy_get_header_map_pairs", "ioo", headers::pairs),
    ("proxy_get_header_map_size", "io", headers::size),
    ("proxy_get_header_map_value", "iiioo", headers::value),
    ("proxy_set_header_map_pairs", "iii", headers::change),
    ("proxy_add_header_map_value", "iiiii", headers::change),
    ("proxy_replace_header_map_value", "iiiii", headers::change),
    ("proxy_remove_header_map_value", "iii", headers::change),
    ("proxy_get_property", "iioo", other::get_property),
    ("proxy_set_property", "iiii", other::set_property),
    ("proxy_get_shared_data", "iiooo", other::not_found),
    ("proxy_set_shared_data", "iiiii", other::unimplemented),
    ("proxy_register_shared_queue", "iio", other::unimplemented),
    ("proxy_resolve_shared_queue", "iiiio", other::not_found),
    ("proxy_dequeue_shared_queue", "ioo", other::not_found),
    ("proxy_enqueue_shared_queue", "iii", other::not_found),
    ("proxy_continue_stream", "i", other::continue_stream),
    ("proxy_close_stream", "i", other::unimplemented),
    ("proxy_send_local_response", "iiiiiiii", other::send_local_response),
    ("proxy_http_call", "iiiiiiiiio", callouts::call),
    ("proxy_grpc_call", "iiiiiiiiiiio", other::unimplemented),
    ("proxy_grpc_stream", "iiiiiiiio", other::unimplemented),
    ("proxy_grpc_send", "iiii", other::unimplemented),
    ("proxy_grpc_cancel", "i", other::unimplemented),
    ("proxy_grpc_close", "i", other::unimplemented),
    ("proxy_call_foreign_function", "iiiioo", other::not_found),
    ("proxy_define_metric", "iiio", measures::define),
    ("proxy_increment_metric", "il", measures::increment),
    ("proxy_record_metric", "il", measures::record),
    ("proxy_get_metric", "iO", measures::get),
];

const WASI_FUNCTIONS: &[Import] = &[
    ("args_get", "ii", wasi::nothing),
    ("args_sizes_get", "oo", wasi::args_sizes_get),
    ("clock_time_get", "ilO", wasi::clock_time_get),
    ("environ_get", "ii", wasi::environ_get),
    ("environ_sizes_get", "oo", wasi::environ_sizes_get),
    ("fd_close", "i", wasi::bad_descriptor),
    ("fd_fdstat_get", "io", wasi::bad_descriptor),
    ("fd_seek", "iliO", wasi::bad_descriptor),
    ("fd_write", "iiio", wasi::fd_write),
    ("random_get", "ii", wasi::random_get),
    ("sched_yield", "", wasi::nothing),
];

/// The rule that a module breaks by importing `module.name`.
pub(crate) fn import_rule(module: &str, name: &str, ty: &ExternType, on_wasmx: bool) -> Option<Rule> {
    let known = match module {
        ENV if name == "proxy_get_log_level" && on_wasmx => return Some(Rule::GetLogLevelImported),
        ENV => PROXY,
        WASI if name == "proc_exit" => return None,
        WASI => WASI_FUNCTIONS,
        _ => &[],
    };
    let declared = known.iter().find(|(known, ..)| *known == name).map(|(_, arguments, _)| function_type(arguments));
    let matches = declared.is_some_and(|declared| ty.func().is_some_and(|wanted| *wanted == declared));
    (!matches).then_some(Rule::UnknownImport)
}

fn function_type(arguments: &str) -> FuncType {
    let parameter = |letter| if letter == b'l' { ValType::I64 } else { ValType::I32 };
    FuncType::new(arguments.bytes().map(parameter).collect::<Vec<_>>(), [ValType::I32])
}

/// All host calls, ready to be linked.
pub(crate) fn linker(engine: &Engine) -> Linker<Link> {
    let mut linker = Linker::new(engine);
    for import in PROXY {
        define(&mut linker, ENV, *import);
    }
    for import in WASI_FUNCTIONS {
        define(&mut linker, WASI, *import);
    }
    let exit = |_: Caller<'_, Link>, code: i32| -> Result<(), Error> { Err(Error::i32_exit(code)) };
    linker.func_wrap(WASI, "proc_exit", exit).expect("defined once");
    linker
}

fn define(linker: &mut Linker<Link>, module: &'static str, (name, arguments, handler): Import) {
    let run = move |caller: Caller<'_, Link>, values: &[Val], results: &mut [Val]| -> Result<(), Error> {
        let numbers: Vec<u64> = values.iter().map(number).collect();
        let status = host_call(&mut Guest { caller }, module, (name, arguments, handler), &numbers)?;
        results[0] = Val::I32(status as i32);
        Ok(())
    };
    linker.func_new(module, name, function_type(arguments), run).expect("defined once");
}

fn number(value: &Val) -> u64 {
    match value {
        Val::I32(number) => u64::from(*number as u32),
        Val::I64(number) => *number as u64,
        other => panic!("no host call takes {other:?}"),
    }
}

fn host_call(guest: &mut Guest<'_>, module: &str, import: Import, numbers: &[u64]) -> Result<u32, Error> {
    let (name, arguments, handler) = import;
    let place = guest.state().place;
    if module == ENV
        && guest.state().wasmx().is_some()
        && let Some(rule) = forbidden(name, numbers, place)
    {
        guest.broke(rule, &format!("{name}{numbers:?}"))?;
    }
    let answer = guest.state_mut().chaos.answer(name);
    if let Some(status) = answer {
        if guest.state().chaos.garbage && status != 0 {
            fill_with_garbage(guest, arguments, numbers)?;
        }
        return Ok(status);
    }
    handler(guest, &Arguments(numbers))
}

/// What a careless host may leave in the out-parameters of a call that failed.
fn fill_with_garbage(guest: &mut Guest<'_>, arguments: &str, numbers: &[u64]) -> Result<(), Error> {
    for (letter, at) in arguments.chars().zip(numbers) {
        match letter {
            'o' => guest.write_u32(*at as u32, 0xDEAD_BEEF)?,
            'O' => guest.write_u64(*at as u32, 0xDEAD_BEEF_DEAD_BEEF)?,
            _ => {}
        }
    }
    Ok(())
}
