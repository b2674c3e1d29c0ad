"""Texts as numbers: characters and terms as indices, bags of words, sets of categories."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ArrayField
from spark_keras.preparation.registry import choice, registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import let, reference
from spark_keras.preparation.step import AddsSteps, Step, vocabulary_field
from spark_keras.preparation.steps.one_hot import one_hot, one_hot_schema

# Terms in each bucket, on the average. Spark searches a map from its start.
_IN_BUCKET = 4


class TextSteps(AddsSteps):
    """Methods of a transform process; each returns a new process. A null stays null."""

    def charactersToIndices(
        self, column: str, output: str, characters: str | Sequence[str], unseen: str = "error", first: int = 0
    ) -> Self:
        """Adds an array with the number of each character of a text: the input of an embedding.

        Args:
            output: the new column, or the old one to replace it.
            characters: those that there are, in the order of their numbers: a string such as "abc…", or a list.
            unseen: what happens at a character that is not among them: "error" (default), "null": the whole value
                becomes missing, "drop": it is left out, or "keep": the number behind the last character's.
            first: the number of the first one; 1 leaves 0 for padding (`padArray`).
        """
        known = _checked_vocabulary(
            "charactersToIndices", list(characters) if isinstance(characters, str) else characters
        )
        wrong = [character for character in known if len(character) != 1][:5]
        if wrong:
            raise ValueError(
                f"Invalid characters in step charactersToIndices. Received: {wrong}. Expected: single characters."
            )
        return self.add(ToIndices(column, output, known, None, unseen, _first("charactersToIndices", first)))

    def termsToIndices(
        self,
        column: str,
        output: str,
        terms: Sequence[str],
        delimiter: str = r"\s+",
        unseen: str = "error",
        first: int = 0,
    ) -> Self:
        r"""Adds an array with the number of each term of a text.

        Args:
            output: the new column, or the old one to replace it.
            terms: the vocabulary, in the order of its numbers.
            delimiter: a regular expression of what stands between terms; default white space. Empty terms are none.
            unseen: as with `charactersToIndices`.
            first: likewise.
        """
        known = _checked_vocabulary("termsToIndices", terms)
        kinds.checked_pattern("step termsToIndices", delimiter)
        return self.add(ToIndices(column, output, known, delimiter, unseen, _first("termsToIndices", first)))

    def bagOfWords(
        self, column: str, output: str, terms: Sequence[str], delimiter: str = r"\s+", counts: bool = True
    ) -> Self:
        r"""Adds an array of floats, as long as the vocabulary, with how often each term occurs in a text.

        For a sparse vector, as large vocabularies want it, see pyspark.ml.feature.CountVectorizer.

        Args:
            output: the new column, or the old one to replace it.
            terms: the vocabulary; other terms are not counted.
            delimiter: a regular expression of what stands between terms; default white space.
            counts: with False, 1.0 for a term that occurs, however often.
        """
        kinds.checked_pattern("step bagOfWords", delimiter)
        known = _checked_vocabulary("bagOfWords", terms)
        return self.add(BagOfWords(column, output, known, delimiter, bool(counts)))

    def delimitedToMultiHot(
        self, column: str, states: Sequence[str], delimiter: str = ",", unseen: str = "error", asArray: bool = False
    ) -> Self:
        """Replaces texts such as "USA, CAN" by one column for each state, `column[USA]` …, with 1 where the text names
        it and 0 elsewhere.

        Args:
            delimiter: the text between two states; white space around them does not count. An empty text names none.
            unseen: what happens to a text that names something else: "error" (default), "null", or "keep": what else
                it names is left out.
            asArray: one column with an array of floats, as long as there are states, instead of several columns.
        """
        known = kinds.checked_states(column, states)
        if not isinstance(delimiter, str) or not delimiter:
            raise ValueError(
                f"Invalid delimiter in step delimitedToMultiHot. Received: {delimiter!r}. Expected: a text."
            )
        return self.add(DelimitedToMultiHot(column, known, delimiter, unseen, bool(asArray)))


def _checked_vocabulary(step: str, terms: Any) -> tuple[str, ...]:
    """The terms: strings that are not empty, each once."""
    given = tuple(terms) if isinstance(terms, (list, tuple)) else ()
    wrong = [term for term in given if not isinstance(term, str) or not term]
    if not given or wrong or len(set(given)) < len(given):
        twice = sorted({term for term in given if given.count(term) > 1})[:5] if not wrong else []
        received = f"{wrong[:5]!r}" if wrong else f"{twice} more than once" if twice else f"{terms!r}"
        raise ValueError(
            f"Invalid vocabulary in step {step}. Received: {received}. "
            "Expected: a list of strings, at least one, none empty, each once."
        )
    return given


def _number_of(term: Column, vocabulary: Sequence[str]) -> Column:
    """The number of a term, from 0 in the order of the vocabulary; null for others."""
    count = max(1, len(vocabulary) // _IN_BUCKET)
    buckets: list[dict[str, int]] = [{} for _ in range(count)]
    for number, known in enumerate(vocabulary):
        buckets[zlib.crc32(known.encode()) % count][known] = number
    # One literal, which Spark parses once for a query, instead of an expression for each term.
    tables = F.from_json(F.lit(json.dumps(buckets)), "array<map<string,int>>")
    bucket = F.pmod(F.crc32(term.cast("binary")), F.lit(count)).cast("int")
    return F.try_element_at(F.get(tables, bucket), term)


def _first(step: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"Invalid first number in step {step}. Received: {value!r}. Expected: a whole number.")
    return value


def _terms(text: Column, delimiter: str | None) -> Column:
    """The characters of a text, or what stands between delimiters."""
    parts = F.split(text, "" if delimiter is None else delimiter)
    return F.filter(parts, lambda part: part != F.lit(""))


@registered("toIndices")
class ToIndices(Step):
    column: str
    output: str
    terms: tuple[str, ...] = vocabulary_field()
    delimiter: str | None = None
    unseen: str = choice(("error", "null", "drop", "keep"), "rule `unseen`", default="error")
    first: int = 0

    @property
    def label(self) -> str:
        return "step charactersToIndices" if self.delimiter is None else "step termsToIndices"

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column], *kinds.TEXT)
        made = ArrayField(self.output, "integer", (None,), nullable=self.may_be_null(field))
        return schema.made(self.label, made, self.column)

    def _parts(self) -> Column:
        return _terms(reference(self.column), self.delimiter)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        numbers = F.transform(self._parts(), lambda term: _number_of(term, self.terms) + F.lit(self.first))
        if self.unseen == "drop":
            return {self.output: F.filter(numbers, lambda number: number.isNotNull())}
        if self.unseen == "keep":
            behind = F.lit(self.first + len(self.terms))
            return {self.output: F.transform(numbers, lambda number: F.coalesce(number, behind))}
        complete = let(numbers, lambda all_: F.when(F.forall(all_, lambda number: number.isNotNull()), all_))
        what = "characters" if self.delimiter is None else "terms"
        expected = f"{what} among the {len(self.terms)} of the step"
        return {self.output: self.by_rule(self.column, reference(self.column), complete, expected)}

    def _unknown(self) -> Column:
        return F.filter(self._parts(), lambda term: _number_of(term, self.terms).isNull())

    def unusable(self, schema: Schema) -> dict[str, Column]:
        return {self.column: F.coalesce(F.size(self._unknown()) > 0, F.lit(False))}

    def shown(self, schema: Schema, column: str) -> Column:
        return F.get(self._unknown(), F.lit(0))


@registered("bagOfWords")
class BagOfWords(Step):
    column: str
    output: str
    terms: tuple[str, ...] = vocabulary_field()
    delimiter: str = r"\s+"
    counts: bool = True

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column], *kinds.TEXT)
        made = ArrayField(self.output, "float", (len(self.terms),), nullable=field.nullable)
        return schema.made(self.label, made, self.column)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        numbers = F.transform(_terms(reference(self.column), self.delimiter), lambda term: _number_of(term, self.terms))
        known = F.array_sort(F.filter(numbers, lambda number: number.isNotNull()))
        return {self.output: let(known, self._dense)}

    def _dense(self, numbers: Column) -> Column:
        """Counts from sorted numbers, in time that grows with them and the vocabulary, not with their product."""
        positions = F.transform(numbers, lambda _, position: position)
        # Where the last copy of each number stands.
        ends = F.filter(
            positions,
            lambda p: F.coalesce(F.get(numbers, p + 1) != F.get(numbers, p), F.lit(True)),
        )

        def runs(ends: Column) -> Column:
            def run(end: Column, index: Column) -> Column:
                before = F.when(index > 0, F.get(ends, index - 1)).otherwise(F.lit(-1))
                number = F.get(numbers, end)
                last = F.when(index > 0, F.get(numbers, before)).otherwise(F.lit(-1))
                count = (end - before).cast("float") if self.counts else _float(1.0)
                return F.concat(F.array_repeat(_float(0.0), number - last - 1), F.array(count))

            used = F.coalesce(F.try_element_at(numbers, F.lit(-1)), F.lit(-1))
            rest = F.array_repeat(_float(0.0), F.lit(len(self.terms) - 1) - used)
            return F.concat(F.flatten(F.transform(ends, run)), rest)

        return let(ends, runs)


def _float(value: float) -> Column:
    return F.lit(value).cast("float")


@registered("delimitedToMultiHot")
class DelimitedToMultiHot(Step):
    column: str
    states: tuple[str, ...]
    delimiter: str = ","
    unseen: str = choice(("error", "null", "keep"), "rule `unseen`", default="error")
    asArray: bool = False

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column], *kinds.TEXT)
        return one_hot_schema(self, schema, field, self.states)

    def _named(self) -> Column:
        parts = F.split(reference(self.column), rf"\Q{self.delimiter}\E")
        trimmed = F.transform(parts, lambda part: F.regexp_replace(part, r"\A\s+|\s+\z", ""))
        return F.filter(trimmed, lambda part: part != F.lit(""))

    def _is_state(self, part: Column) -> Column:
        return part.isin(list(self.states))

    def expressions(self, schema: Schema) -> dict[str, Column]:
        named = self._named()
        if self.unseen != "keep":
            states = F.when(F.forall(named, self._is_state), named)
            expected = f"a list of the states {list(self.states)} with {self.delimiter!r} between them"
            named = self.by_rule(self.column, reference(self.column), states, expected)
        ones = [F.array_contains(named, state) for state in self.states]
        return one_hot(self, self.column, self.states, named, ones)

    def unusable(self, schema: Schema) -> dict[str, Column]:
        return {self.column: F.coalesce(F.exists(self._named(), lambda part: ~self._is_state(part)), F.lit(False))}

    def shown(self, schema: Schema, column: str) -> Column:
        return F.get(F.filter(self._named(), lambda part: ~self._is_state(part)), F.lit(0))
