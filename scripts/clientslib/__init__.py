"""What programs make of a mount: the clients and tools of docs/CLIENTS.md, run one after another on real mounts."""
