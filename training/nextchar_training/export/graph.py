"""The graph: the ``advance`` operation of a model, built from a network's weights.

Turns the weights of a checkpoint into the ONNX graph that a model file holds: a ``Scan`` of K character
steps over a batch of B rows, with the sampler inside. A row whose ``forced`` holds an id reads it, and a
row with -1 samples one, so that reading a prompt, generating and scoring are one operation. A ``Loop`` in
front of the ``Scan`` consumes R prompt ids and only updates the state; it computes no logits.

A row's outputs always depend on that row's inputs alone, bit for bit, whatever B and K are. So a product
sums integers (int8) or runs over the same packed kernel at any B (fp32). Operations that don't round
exactly are operators that work row by row: ``Softmax`` instead of ``Exp`` and a sum, whose order of addition
depends on a row's place in memory. And branches that only some rows need leave the other rows' values
untouched.

The graph is written in ONNX's own text syntax, so that it can be read as a program.

Shapes: B rows, R steps that only read, K steps, V ids, E embedding size, H hidden size, L layers, S states of
the constraint automaton, N alternatives.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from nextchar_model.cell import Cell, Precision, has_cell

from .draw import draw, draw_constants
from .layers import Weights, recurrence
from .precision import Fp32Writer, Int8Writer, Scales
from .truncation import truncated, truncation_begin, truncation_constants

IR_VERSION = 10
OPSET = 20
"""With 21 and later, onnxruntime ran some control-flow operators on the CPU even with the CUDA provider."""


def build_advance(
    weights: Weights, *, cell: Cell, layers: int, precision: Precision, scales: Scales = "output"
) -> onnx.ModelProto:
    """Returns the graph ``advance``, without metadata, of a network of ``layers`` layers of ``cell``.

    ``scales`` are those of int8 weights.
    ``Runner.advance`` describes the inputs and outputs. Raises ``onnx.checker.ValidationError`` if the result isn't a
    valid ONNX model.
    """
    V, H = weights["readout.weight"].shape
    writer = Int8Writer(scales) if precision == "int8" else Fp32Writer()
    steps = recurrence(writer, weights, cell, layers)
    readout = writer.product("logits", f"out_hidden_{layers - 1}", weights["readout.weight"], weights["readout.bias"])
    kinds = {"hidden": writer.state_type, **({"cell": "float"} if has_cell(cell, precision) else {})}
    types = [f"{kinds[kind]}[B, {H}]" for kind in kinds for _ in range(layers)]
    state = [f"{kind}_{n}" for kind in kinds for n in range(layers)]
    text = _ADVANCE.format(
        ir_version=IR_VERSION,
        opset=OPSET,
        V=V,
        H=H,
        L=layers,
        C=layers if "cell" in kinds else 0,
        state_type=writer.state_type,
        reading=_indented(6, steps),
        network=_indented(6, [*steps, *readout]),
        truncation_begin=_indented(2, truncation_begin(V)),
        truncated=_indented(14, truncated("truncated_probabilities", "whole_probabilities", V)),
        restricted_draw=_indented(10, draw("restricted", V)),
        free_draw=_indented(10, draw("free", V)),
        unstack="\n  ".join(
            f"{kind}_{n} = Gather <axis = 0> ({kind}, layer_{n})" for kind in kinds for n in range(layers)
        ),
        state=", ".join(state),
        state_in=", ".join(f"{type_} in_{name}" for type_, name in zip(types, state, strict=True)),
        state_out=", ".join(f"{type_} out_{name}" for type_, name in zip(types, state, strict=True)),
        state_begin=", ".join(f"begin_{name}" for name in state),
        state_after=", ".join(f"after_{name}" for name in state),
        stack="\n  ".join(line for kind in kinds for line in _stack(kind, layers)),
        rest="" if "cell" in kinds else "new_cell = Identity (cell)  # [0, B, H]",
    )
    model = onnx.parser.parse_model(text)
    for name, array in (_constants(V, layers) | writer.constants).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    onnx.checker.check_model(model, full_check=False)
    return model


_ADVANCE = """
<ir_version: {ir_version}, opset_import: ["": {opset}, "com.microsoft": 1]>
advance (
  int64[B] last_id, int64[R, B] read, int64[K, B] forced, float[K, B] uniform,
  float[B] temperature, int64[B] top_k, float[B] top_p, float[B] min_p, float[B, {V}] bias,
  int32[S, {V}] transitions, int32[S, {V}] detours, int32[B] automaton_state, int32[B] slack, int32[B] ends_at,
  int64[1] alternatives,
  {state_type}[{L}, B, {H}] hidden, float[{C}, B, {H}] cell
) => (
  int64[K, B] ids, float[K, B] logprob, int64[K, B, N] top_ids, float[K, B, N] top_logprobs,
  int32[B] new_automaton_state, int32[B] new_slack, {state_type}[{L}, B, {H}] new_hidden, float[{C}, B, {H}] new_cell
) {{
  # Temperature 0 becomes one so low that only the likeliest ids are left; draw 0 then takes the first of them.
  magnitude = Abs (temperature)  # of -0 too
  reciprocal = Div (one, magnitude)
  capped = Min (reciprocal, largest)
  inverse_temperature = Unsqueeze (capped, axis_1)
  greedy = Equal (temperature, zero)
  sampling_draws = Where (greedy, zero, uniform)

  # A draw of -1 chooses id 0, and the forced id is added to it: reading costs a step nothing.
  is_forced = GreaterOrEqual (forced, no_id)
  draws = Where (is_forced, minus_one, sampling_draws)
  draw_columns = Unsqueeze (draws, axis_2)
  forced_or_0 = Max (forced, no_id)
  forced_columns = Unsqueeze (forced_or_0, axis_2)

  # Whether any row asks for more than plain sampling is decided once per call.
{truncation_begin}
  constrained_rows = Cast <to = 9> (automaton_state)
  waiting_rows = Less (ends_at, slack)
  held_rows = Or (constrained_rows, waiting_rows)
  constrains = ReduceMax <keepdims = 0> (held_rows)
  restricts = Or (truncates, constrains)

  {unstack}
  id_before = Unsqueeze (last_id, axis_1)

  # Ids that are only read need the recurrence alone. A Loop, unlike a Scan, may take no step at all.
  read_columns = Unsqueeze (read, axis_2)
  read_shape = Shape <end = 1> (read)
  read_steps = Squeeze (read_shape, layer_axis)
  first_id, {state_begin} = Loop <
    body = reading (int64 step_number, bool goes_on, int64[B, 1] id, {state_in}) => (
      bool still_goes_on, int64[B, 1] read_id, {state_out}
    ) {{
{reading}
      read_id = Gather (read_columns, step_number)
      still_goes_on = Identity (goes_on)
    }}
  > (read_steps, always, id_before, {state})

  # The place in an automaton: the state, and the characters left beyond the shortest way to its end.
  automaton_wide = Cast <to = 7> (automaton_state)
  first_automaton = Unsqueeze (automaton_wide, axis_1)
  slack_wide = Cast <to = 7> (slack)
  first_slack = Unsqueeze (slack_wide, axis_1)
  first_place = Concat <axis = 1> (first_automaton, first_slack)
  last_slack = Unsqueeze (ends_at, axis_1)
  final_id, final_place, {state_after}, id_columns, logprob_columns, top_ids, top_logprobs = Scan <
    num_scan_inputs = 2, body = step (
      int64[B, 1] id, int64[B, 2] place, {state_in}, int64[B, 1] forced_id, float[B, 1] draw
    ) => (
      int64[B, 1] next_id, int64[B, 2] next_place, {state_out},
      int64[B, 1] step_id, float[B, 1] step_logprob, int64[B, N] step_top_ids, float[B, N] step_top_logprobs
    ) {{
      # The network: from the id and the state before it to the logits of the next id.
{network}
      log_probabilities = LogSoftmax <axis = -1> (logits)

      shifted = Add (log_probabilities, bias)

      next_id, next_place = If (restricts) <
        then_branch = restricted () => (int64[B, 1] restricted_id, int64[B, 2] restricted_place) {{
          restricted_scores = If (constrains) <
            then_branch = constrained () => (float[B, {V}] constrained_scores) {{
              automaton, slack_left_wide = Split <axis = 1, num_outputs = 2> (place)
              slack_left = Cast <to = 6> (slack_left_wide)
              ways = GatherND (detours, automaton)
              has_no_way = Greater (ways, slack_left)
              is_early = Greater (slack_left, last_slack)
              is_early_end = And (is_early, is_end)
              forbidden = Or (has_no_way, is_early_end)
              allowed = Where (forbidden, minus_infinity, shifted)
              constrained_scores = Mul (allowed, inverse_temperature)
            }},
            else_branch = unconstrained () => (float[B, {V}] unconstrained_scores) {{
              unconstrained_scores = Mul (shifted, inverse_temperature)
            }}
          >
          whole_probabilities = Softmax <axis = -1> (restricted_scores)
          restricted_probabilities = If (truncates) <
            then_branch = truncated () => (float[B, {V}] truncated_probabilities) {{
{truncated}
            }},
            else_branch = untruncated () => (float[B, {V}] untruncated_probabilities) {{
              untruncated_probabilities = Identity (whole_probabilities)
            }}
          >
{restricted_draw}
          restricted_place = If (constrains) <
            then_branch = moved () => (int64[B, 2] moved_place) {{
              # An automaton follows the sampled ids; forced ones leave it in its state.
              moving_automaton, moving_slack = Split <axis = 1, num_outputs = 2> (place)
              transition = Concat <axis = 1> (moving_automaton, restricted_id)
              destination = GatherND (transitions, transition)
              destination_wide = Cast <to = 7> (destination)
              destination_column = Unsqueeze (destination_wide, axis_1)
              way = GatherND (detours, transition)
              way_wide = Cast <to = 7> (way)
              way_column = Unsqueeze (way_wide, axis_1)
              slack_after = Sub (moving_slack, way_column)
              place_after = Concat <axis = 1> (destination_column, slack_after)
              reads = Less (draw, zero)
              moved_place = Where (reads, place, place_after)
            }},
            else_branch = unmoved () => (int64[B, 2] unmoved_place) {{
              unmoved_place = Identity (place)
            }}
          >
        }},
        else_branch = free () => (int64[B, 1] free_id, int64[B, 2] free_place) {{
          free_scores = Mul (shifted, inverse_temperature)
          free_probabilities = Softmax <axis = -1> (free_scores)
{free_draw}
          free_place = Identity (place)
        }}
      >

      step_id = Identity (next_id)
      step_logprob = GatherElements <axis = 1> (log_probabilities, next_id)
      step_top_logprobs, step_top_ids = TopK <axis = -1> (log_probabilities, alternatives)
    }}
  > (first_id, first_place, {state_begin}, forced_columns, draw_columns)
  ids = Squeeze (id_columns, axis_2)
  logprob = Squeeze (logprob_columns, axis_2)
  final_automaton, final_slack = Split <axis = 1, num_outputs = 2> (final_place)
  final_automaton_row = Squeeze (final_automaton, axis_1)
  new_automaton_state = Cast <to = 6> (final_automaton_row)
  final_slack_row = Squeeze (final_slack, axis_1)
  new_slack = Cast <to = 6> (final_slack_row)
  {stack}
  {rest}
}}
"""


def _indented(spaces: int, lines: list[str]) -> str:
    return "\n".join(" " * spaces + line for line in lines)


def _stack(kind: str, layers: int) -> list[str]:
    """Returns the lines that stack the layers' last states into ``new_hidden`` or ``new_cell``, [L, B, H]."""
    lines = [f"layer_of_{kind}_{n} = Unsqueeze (after_{kind}_{n}, layer_axis)" for n in range(layers)]
    rows = ", ".join(f"layer_of_{kind}_{n}" for n in range(layers))
    return [*lines, f"new_{kind} = Concat <axis = 0> ({rows})"]


def _constants(V: int, layers: int) -> dict[str, NDArray[np.generic]]:
    """Returns the constants of the template, by name."""
    return {
        "zero": np.array(0, np.float32),
        "one": np.array(1, np.float32),
        "minus_one": np.array(-1, np.float32),
        "minus_infinity": np.array(-np.inf, np.float32),
        "largest": np.array(1e30, np.float32),
        "no_id": np.array(0, np.int64),
        "last": np.array([-1], np.int64),
        "first": np.array([0], np.int64),
        "always": np.array(True),
        **draw_constants(V),
        **truncation_constants(V),
        "is_end": np.arange(V) == 0,
        "axis_1": np.array([1], np.int64),
        "axis_2": np.array([2], np.int64),
        "cumulative_axis": np.array(1, np.int64),
        **{f"layer_{n}": np.array(n, np.int64) for n in range(layers)},
        "layer_axis": np.array([0], np.int64),
    }
