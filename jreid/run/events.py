"""Writes TensorBoard's event files: scalars, the config as text and as hparams, and pictures.

TensorFlow is not needed: the records are TensorBoard's own messages.
"""

import os
import pathlib
import socket
import time
from collections.abc import Mapping
from typing import Any

from PIL import Image
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.text import metadata as text
from tensorboard.summary.writer.record_writer import RecordWriter

# `DT_STRING` of TensorFlow's types, as a number.
_STRING = 7


class Events:
    """An event file of a run.

    Args:
      folder: the folder of the event files.
      step: the step from which the run continues. TensorBoard drops later ones of earlier files.
    """

    def __init__(self, folder: pathlib.Path, *, step: int):
        folder.mkdir(exist_ok=True)
        self._file = open(  # noqa: SIM115
            folder / f'events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}',
            'wb',
        )
        self._records = RecordWriter(self._file)
        self._write(event_pb2.Event(file_version='brain.Event:2'))
        restart = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(event_pb2.Event(step=step + 1, session_log=restart))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes tag -> number."""
        self._summary(
            step,
            *(
                summary_pb2.Summary.Value(tag=tag, simple_value=float(value))
                for tag, value in values.items()
            ),
        )

    def config(self, step: int, fields: Mapping[str, Any]) -> None:
        """Writes a config as a table of text, and as what TensorBoard compares runs by.

        Args:
          fields: dotted name -> value.
        """
        # A bar would end the cell of a table.
        shown = {name: repr(value).replace('|', '\\|') for name, value in fields.items()}
        rows = (f'| {name} | `{value}` |' for name, value in shown.items())
        words = '\n'.join(['| field | value |', '|---|---|', *rows])
        self._summary(
            step,
            summary_pb2.Summary.Value(
                tag='config',
                metadata=text.create_summary_metadata('config', ''),
                tensor=tensor_pb2.TensorProto(
                    dtype=_STRING,
                    tensor_shape=tensor_shape_pb2.TensorShapeProto(),
                    string_val=[words.encode()],
                ),
            ),
        )
        started = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
        for name, value in fields.items():
            if isinstance(value, bool):
                started.hparams[name].bool_value = value
            elif isinstance(value, int | float):
                started.hparams[name].number_value = value
            else:
                started.hparams[name].string_value = value if isinstance(value, str) else str(value)
        self._session(
            step,
            hparams.SESSION_START_INFO_TAG,
            plugin_data_pb2.HParamsPluginData(session_start_info=started),
        )

    def picture(self, step: int, tag: str, path: pathlib.Path) -> None:
        """Writes a PNG or JPEG file; nothing where it is missing."""
        if not path.is_file():
            return
        with Image.open(path) as image:
            width, height = image.size
        encoded = summary_pb2.Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes()
        )
        self._summary(step, summary_pb2.Summary.Value(tag=tag, image=encoded))

    def finish(self, step: int) -> None:
        """Says that the run has ended well."""
        ended = plugin_data_pb2.SessionEndInfo(
            status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time()
        )
        self._session(
            step,
            hparams.SESSION_END_INFO_TAG,
            plugin_data_pb2.HParamsPluginData(session_end_info=ended),
        )

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _session(self, step: int, tag: str, data: plugin_data_pb2.HParamsPluginData) -> None:
        metadata = hparams.create_summary_metadata(data)
        self._summary(
            step, summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=hparams.NULL_TENSOR)
        )

    def _summary(self, step: int, *values: summary_pb2.Summary.Value) -> None:
        self._write(event_pb2.Event(step=step, summary=summary_pb2.Summary(value=values)))
        self._records.flush()

    def _write(self, event: event_pb2.Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
