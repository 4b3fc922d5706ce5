"""The columns of tables as Dagster shows them: each with a text."""

import dagster as dg
import pyarrow as pa

from segpipe.flow.stages.stage_registry import AnyStage
from segpipe.store.tables import DEAL_FIELD


def told_schema(stage: AnyStage, file: str) -> dg.TableSchemaMetadataValue:
    """The columns that a stage writes into a table, which stand with its asset."""
    fields = [field for field in stage.tables[file] if field.name not in stage.later_columns]
    return column_schema(pa.schema([DEAL_FIELD, *fields]), stage)


def told_columns(stage: AnyStage) -> dict[str, dg.TableSchemaMetadataValue]:
    """The columns of all tables of a stage, by the entries in which Dagster looks for them."""
    return {column_entry(stage, file): told_schema(stage, file) for file in stage.tables}


def column_entry(stage: AnyStage, file: str) -> str:
    """The entry of metadata for the columns of a table: the main one, the last, is Dagster's."""
    return "dagster/column_schema" if file == list(stage.tables)[-1] else f"columns/{file}"


def column_schema(schema: pa.Schema, stage: AnyStage) -> dg.TableSchemaMetadataValue:
    """The columns of a table with the texts of its stage."""
    columns = [
        dg.TableColumn(
            field.name,
            # How the values are packed concerns nobody who looks at the columns.
            str(getattr(field.type, "value_type", field.type))
            if pa.types.is_dictionary(field.type)
            else str(field.type),
            description=stage.columns.get(field.name),
            constraints=dg.TableColumnConstraints(nullable=field.nullable),
        )
        for field in schema
    ]
    return dg.TableSchemaMetadataValue(dg.TableSchema(columns))
