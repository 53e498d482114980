"""Runs the folder qwe as the job of its argument, downloads, and says what the client was told at each step."""

import json
import sys
import time

from DISCOMPUTIFY.CLIENT_NODE.client_node import CLIENT_NODE


def say(what, value):
    print(f"{what}: {json.dumps(value)}", flush=True)


client = CLIENT_NODE()
client.set_process_id(sys.argv[1])
client.upload_files("qwe")
say("started", client.start_computing())
say("again", client.start_computing())
say("load", client.get_node_load())
statuses = []
deadline = time.monotonic() + 60
while True:
    statuses.append(client.get_process_status())
    if not any(statuses[-1].values()) or time.monotonic() > deadline:
        break
    time.sleep(0.1)
say("statuses", statuses)
client.download_files()
say("stopped", client.stop_computing())
if "clear" in sys.argv:
    client.clear_data()
    client.QUERY_CLIENT.make_request(operation="GET_DIR_NAMES", data={"PROCESS_ID": client.PROCESS_ID})
    say("left", client.DIRS_TO_FETCH)
    say("known", client.get_process_status())
