"""Starts the folder qwe, waits for a file, stops the job."""

import json
import os
import sys
import time

from DISCOMPUTIFY.CLIENT_NODE.client_node import CLIENT_NODE

client = CLIENT_NODE()
client.set_process_id(sys.argv[1])
client.upload_files("qwe")
client.start_computing()
deadline = time.monotonic() + 60
while len(os.listdir(sys.argv[2])) < int(sys.argv[3]) and time.monotonic() < deadline:
    time.sleep(0.05)
print("running:", json.dumps(client.get_process_status()), flush=True)
print("stopped:", json.dumps(client.stop_computing()), flush=True)
print("after:", json.dumps(client.get_process_status()), flush=True)
