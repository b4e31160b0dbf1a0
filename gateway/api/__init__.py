"""Routes, one module a resource; each has its ``ROUTES``, which ``gateway.routes`` gathers."""
