"""Alembic's environment: it works in the connection and the transaction that `upgrade` opened."""

from alembic import context

from phi3_bento.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
