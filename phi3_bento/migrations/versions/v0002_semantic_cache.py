"""Which keys' requests the semantic cache may answer."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; of keys that are there already, none asks for it."""
    column: sa.Column[bool] = sa.Column(
        "semantic_cache", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("keys", column)
