"""What was said last as a sensor in Home Assistant, which finds it by itself (MQTT discovery).

python examples/mqtt_home_assistant.py mqtt://USER:PASSWORD@BROKER/home/desk [RECORDING|--mic]
"""

import asyncio
import json
import re
import sys
from contextlib import suppress

from sinks.mqtt import MqttSink
from sources import MicrophoneSource
from streaming.app import Settings, make_pipeline


async def main(broker: str, name: str = "--mic") -> None:
    source = MicrophoneSource() if name == "--mic" else name
    sink = MqttSink(broker)
    unique = re.sub(r"\W", "_", sink.prefix)
    sensor = {
        "name": "Last utterance",
        "unique_id": f"{unique}_text",
        "state_topic": f"{sink.prefix}/text",
        "value_template": "{{ value[:255] }}",  # no state may be longer
        "availability_topic": f"{sink.prefix}/status",
        "icon": "mdi:account-voice",
        "device": {"identifiers": [unique], "name": f"Microphone {sink.prefix}"},
    }
    async with make_pipeline(source, Settings(), sinks=[sink]) as pipeline:
        topic = f"homeassistant/sensor/{unique}_text/config"
        sink.publish(topic, json.dumps(sensor), retain=True)
        await pipeline.run()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
