"""A proxy for the two hosts that the official Python SDK always uses, whatever its settings are.

`storage.googleapis.com` is served by the storage of the emulator, and `api.ipify.org` (which the SDK asks if there is a
network) by this program. Requests to loopback pass, and other hosts are refused. Usage: fixed_hosts.py STORAGE FOLDER.
It writes `authority.pem` into the folder and prints its port.
"""

import asyncio
import datetime
import re
import ssl
import sys
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

STORAGE_HOST, ADDRESS_HOST = "storage.googleapis.com", "api.ipify.org"


def certificate(folder):
    """Write a self-signed certificate for both hosts, and return the TLS context of a server that has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "conformance run")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(STORAGE_HOST), x509.DNSName(ADDRESS_HOST)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for path, content in [("authority.pem", pem), ("key.pem", private)]:
        with open(f"{folder}/{path}", "wb") as file:
            file.write(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/authority.pem", f"{folder}/key.pem")
    return context


async def pump(reader, writer):
    """Pass bytes on until one side closes."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()
    except (ConnectionError, ssl.SSLError):
        writer.close()


async def relay(reader, writer, authority, head=b""):
    """Connect a client with a server on loopback."""
    host, _, port = authority.rpartition(":")
    to_read, to_write = await asyncio.open_connection(host, int(port))
    to_write.write(head)
    await asyncio.gather(pump(reader, to_write), pump(to_read, writer))


async def serve(reader, writer, storage, context):
    """Serve one connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.decode("latin-1").split(" ", 2)
    if method != "CONNECT":
        authority = urllib.parse.urlparse(target).netloc
        if authority.startswith("127.0.0.1:"):
            # The next request may be for another server.
            head = re.sub(rb"\r\nconnection:[^\r]*", b"", head, flags=re.I)
            await relay(reader, writer, authority, head[:-2] + b"Connection: close\r\n\r\n")
        return
    host = target.rpartition(":")[0]
    if host not in (STORAGE_HOST, ADDRESS_HOST):
        print(f"refused: {host}", file=sys.stderr, flush=True)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        return
    writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
    await writer.drain()
    await writer.start_tls(context)
    if host == STORAGE_HOST:
        await relay(reader, writer, storage)
    else:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n127.0.0.1")
        await writer.drain()


async def main(storage, folder):
    """Listen on a free port until the process is stopped."""
    context, authority = certificate(folder), urllib.parse.urlparse(storage).netloc

    async def client(reader, writer):
        try:
            await serve(reader, writer, authority, context)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
