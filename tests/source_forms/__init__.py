"""One small district written out in every source form, which must all give the same numbers.

`districts` owns the neutral form and what of it is right in the canonical tables; each other module
writes it in one source's words; `test_source_forms` reads them back. A fact that a form cannot
carry is left out of it, and the writer's module says so.
"""
