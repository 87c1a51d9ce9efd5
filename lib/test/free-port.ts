/** Ports for programs that a test starts and that have to be told where to listen. */
import { once } from "node:events";
import { createServer, type Server } from "node:net";

// Above what the platform and the usual servers use, below NodePorts (30000) and below Linux' ports for outgoing connections
// (net.ipv4.ip_local_port_range, 32768): one of those may be taken between the question and the program's start.
const first = 15_000;
const last = 29_999;

/**
 * A port that nobody listens on, and that no other test gets while this process lives.
 * @param host the address on which the port has to be free
 */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  for (;;) {
    const port = first + Math.floor(Math.random() * (last - first + 1));
    // An abstract socket is a claim that the kernel takes back when the process ends, however it ends.
    const claim = await listening({ path: `\0free-port-${port}` });
    if (!claim) continue;
    const probe = await listening({ host, port });
    if (!probe) {
      claim.close();
      continue;
    }
    claim.unref();
    probe.close();
    await once(probe, "close");
    return port;
  }
}

/** A server at an address, or nothing where somebody else listens. */
async function listening(at: { path: string } | { host: string; port: number }): Promise<Server | undefined> {
  const server = createServer().listen({ ...at, exclusive: true });
  try {
    await once(server, "listening");
    return server;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") return undefined;
    throw error;
  }
}
