"""The thread pool under both CPU engines: `pool.c` is the pool, `_threads` its Python face."""
