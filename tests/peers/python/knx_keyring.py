"""Keyrings of the ETS by xknx: writes one, and tells what xknx reads in one.

`write FILE PASSWORD` makes a keyring from the description on standard input: JSON with the attributes of its elements,
where `secret:` stands before a text that is to be encrypted and `key:` before hexadecimal digits. xknx has no writer, so
the encryption is that of the library `cryptography`, with the keys and the signature of xknx. `read FILE PASSWORD` prints
what xknx reads as JSON, or `FAILED <exception>`.
"""

import base64
import json
import os
import sys
import xml.sax
from xml.sax.saxutils import quoteattr

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from xknx.secure.keyring import KeyringSAXContentHandler, hash_keyring_password, sync_load_keyring
from xknx.secure.util import sha256_hash


def encrypted(text, key, vector):
    if text.startswith("key:"):
        plain = bytes.fromhex(text[4:])
    elif text.startswith("secret:"):
        plain = os.urandom(8) + text[7:].encode()
        padding = 16 - len(plain) % 16
        plain += bytes([padding]) * padding
    else:
        return text
    cipher = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    return base64.b64encode(cipher.update(plain) + cipher.finalize()).decode()


def element(tree, key, vector, extra=""):
    name, attributes, children = tree
    shown = "".join(f" {each}={quoteattr(encrypted(text, key, vector))}" for each, text in attributes.items())
    inside = "\n".join(element(child, key, vector) for child in children)
    return f"<{name}{shown}{extra}>\n{inside}\n</{name}>" if children else f"<{name}{shown}{extra} />"


def write(path, password):
    tree = json.load(sys.stdin)
    key = hash_keyring_password(password.encode())
    vector = sha256_hash(tree[1]["Created"].encode())[:16]
    unsigned = element(tree, key, vector)
    handler = KeyringSAXContentHandler(password)
    xml.sax.parseString(unsigned.encode(), handler)
    signature = base64.b64encode(sha256_hash(handler.output)[:16]).decode()
    at = unsigned.index(">") if tree[2] else unsigned.index(" />")
    signed = f'{unsigned[:at]} Signature="{signature}" xmlns="http://knx.org/xml/keyring/1"{unsigned[at:]}'
    with open(path, "wb") as file:
        file.write(b"\xef\xbb\xbf" + b'<?xml version="1.0" encoding="utf-8"?>\n' + signed.encode())


def read(path, password):
    try:
        keyring = sync_load_keyring(path, password)
    except Exception as error:
        print(f"FAILED {type(error).__name__} {error}")
        return
    shown = lambda key: key.hex() if key is not None else None
    address = lambda each: str(each) if each is not None else None
    backbone = keyring.backbone
    print(json.dumps({
        "project": keyring.project_name,
        "backbone": backbone and [backbone.multicast_address, backbone.latency, shown(backbone.decrypted_key)],
        "interfaces": [
            [
                each.type.value, address(each.individual_address), address(each.host), each.user_id,
                each.decrypted_password, each.decrypted_authentication,
                {str(group.raw): [str(sender) for sender in senders] for group, senders in each.group_addresses.items()},
            ]
            for each in keyring.interfaces
        ],
        "groups": {str(group.raw): shown(key) for group, key in keyring.get_data_secure_group_keys().items()},
        "devices": [
            [
                str(each.individual_address), shown(each.decrypted_tool_key), each.decrypted_management_password,
                each.decrypted_authentication, each.sequence_number,
            ]
            for each in keyring.devices
        ],
        "senders": {str(sender): number for sender, number in keyring.get_data_secure_senders().items()},
    }))


{"write": write, "read": read}[sys.argv[1]](sys.argv[2], sys.argv[3])
