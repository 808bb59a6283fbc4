//! One instance of the module.

use wasmi::{Error, Extern, Store, Val};

use crate::guest::Link;
use crate::module::Module;
use crate::state::Shared;

/// See the module's documentation.
pub(crate) struct Instance {
    store: Store<Link>,
    instance: wasmi::Instance,
    next_context: u32,
    /// It has not trapped and was not thrown away.
    pub alive: bool,
}

impl Instance {
    /// Instantiates `module` and runs its `_initialize`.
    pub(crate) fn new(module: &Module, shared: &Shared, index: usize) -> Result<Self, Error> {
        let link = Link { shared: shared.clone(), instance: index, memory: None, allocate: None };
        let mut store = Store::new(module.module.engine(), link);
        let instance = module.linker().instantiate_and_start(&mut store, &module.module)?;
        let allocate = ["proxy_on_memory_allocate", "malloc"]
            .iter()
            .find_map(|name| instance.get_typed_func::<u32, u32>(&store, name).ok());
        let memory = instance.get_memory(&store, "memory");
        store.data_mut().memory = memory;
        store.data_mut().allocate = allocate;
        let mut made = Self { store, instance, next_context: 1, alive: true };
        for start in ["_initialize", "_start"] {
            made.call(start, &[])?;
        }
        Ok(made)
    }

    /// The next free context number.
    pub(crate) fn new_context(&mut self) -> u32 {
        self.next_context += 1;
        self.next_context - 1
    }

    /// Calls an export with as many of `arguments` as it takes; its result, or none where there is no such export.
    pub(crate) fn call(&mut self, export: &str, arguments: &[u32]) -> Result<Option<u32>, Error> {
        let Some(Extern::Func(function)) = self.instance.get_export(&self.store, export) else { return Ok(None) };
        let ty = function.ty(&self.store);
        let values: Vec<Val> = arguments.iter().map(|number| Val::I32(*number as i32)).collect();
        let taken = values.get(..ty.params().len()).ok_or_else(|| Error::new(format!("{export} takes more")))?;
        let mut results: Vec<Val> = ty.results().iter().map(|ty| Val::default_for_ty(*ty)).collect();
        function.call(&mut self.store, taken, &mut results)?;
        Ok(results.first().and_then(Val::i32).map(|number| number as u32))
    }

    /// Bytes of its memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().memory.map_or(0, |memory| memory.data_size(&self.store))
    }
}
