//! Memory that is free and not given back.

/// Gives memory that was freed back to the system, as far as the allocator keeps it.
///
/// Reading a configuration and handing ten thousands of items to plugins takes several times the memory that stays in
/// use, and the C library keeps what lies between blocks in use. It costs some milliseconds.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim(3) may be called at any time from any thread.
    unsafe {
        malloc_trim(0);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    fn malloc_trim(pad: usize) -> std::ffi::c_int;
}
