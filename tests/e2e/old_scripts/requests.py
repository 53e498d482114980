"""Sends many requests of growing sizes through one CYPHER_CLIENT; half way it says so and waits for a file."""

import hashlib
import json
import os
import sys
import time

from CYPHER_PROTOCOL.CYPHER_CLIENT.cypher_client import CYPHER_CLIENT

COUNT, RESTARTED = int(sys.argv[1]), sys.argv[2]
MOST = 4 * 1024 * 1024

with open("discomputify_conf.json") as file:
    conf = json.load(file)

answers = []
client = CYPHER_CLIENT(
    ip=conf["FTP_NODE"],
    port=conf["FTP_PORT"],
    encryption_key=conf["ENCRYPTION_KEY"],
    decryption_key=conf["DECRYPTION_KEY"],
    responce_handler=answers.append,
    recv_buffer=conf["RECV_BUFFER"],
    transmission_buffer=conf["TRANSMISSION_BUFFER"],
)
written = hashlib.sha256()
# Mostly small, some of the largest size, and all between.
lengths = [min(MOST, int(MOST * (number % 100) ** 80 / 99**80)) if number % 10 else 0 for number in range(COUNT)]
size = 0
for number in range(COUNT):
    if number == COUNT // 2:
        print("half: true", flush=True)
        deadline = time.monotonic() + 60
        while not os.path.exists(RESTARTED) and time.monotonic() < deadline:
            time.sleep(0.05)
    data = os.urandom(lengths[number])
    size += len(data)
    written.update(data)
    client.make_request(
        path="many/all",
        operation="WRITE",
        data=[data.hex(), number],
        metadata={"FILESIZE": sum(lengths), "UPLOADED": size},
    )
client.close_connection()
wrong = [answer for answer in answers if answer["DATA"] != "DONE"]
print("wrong:", json.dumps(wrong[:2]), flush=True)
print("answers:", len(answers), flush=True)
print("done:", sum(answer["DATA"] == "DONE" for answer in answers), flush=True)
print("written:", json.dumps([size, written.hexdigest()]), flush=True)
