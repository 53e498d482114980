"""Uploads the folder up file by file, waits half way, downloads all of it into down."""

import json
import os
import sys
import time

from CYPHER_PROTOCOL.CYPHER_CLIENT.FTP.ftp_client import FTP_CLIENT

with open("discomputify_conf.json") as file:
    conf = json.load(file)

client = FTP_CLIENT(
    file_responce_trigger=None,
    recv_chunk_size=conf["RECV_CHUNK_SIZE"],
    transmission_chunk_size=conf["TRANSMISSION_CHUNK_SIZE"],
    ip=conf["FTP_NODE"],
    port=conf["FTP_PORT"],
    encryption_key=conf["ENCRYPTION_KEY"],
    decryption_key=conf["DECRYPTION_KEY"],
    recv_buffer=conf["RECV_BUFFER"],
    transmission_buffer=conf["TRANSMISSION_BUFFER"],
)
names = sorted(os.listdir("up"))
for number, name in enumerate(names):
    if number == len(names) // 2:
        print("half: true", flush=True)
        deadline = time.monotonic() + 60
        while not os.path.exists(sys.argv[1]) and time.monotonic() < deadline:
            time.sleep(0.05)
    client.upload_file_s(os.path.join("up", name), "fifty")
os.mkdir("down")
client.fetch_file_s("fifty", "down")
client.delete_file_folder("fifty/up/" + names[0])
client.close_connection()
print("done: true", flush=True)
