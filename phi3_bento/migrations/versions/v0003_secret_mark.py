"""Under which secret a key was made, so that another secret is noticed before its users are."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; of keys that are there already, nobody knows it."""
    column: sa.Column[str] = sa.Column("secret_mark", sa.String(4))
    op.add_column("keys", column)
