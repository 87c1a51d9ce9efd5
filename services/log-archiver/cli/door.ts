/** How this machine reaches the search store: at its address, or through kubectl. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { Failure } from "../src/failure.ts";

const namespace = "search";
const service = "service/search-door";

/** A way to the search store. */
export interface Door {
  url: string;
  close(): void;
}

/**
 * Opens the way: the address in `LOGS_URL`, which `./deploy.sh env` sets if there is one, or else a port of this machine
 * that kubectl forwards.
 * @throws Failure if there is neither
 */
export async function openDoor(url = process.env.LOGS_URL): Promise<Door> {
  if (url) return { url: url.replace(/\/+$/, ""), close: () => undefined };
  const child = spawn("kubectl", ["--namespace", namespace, "port-forward", service, ":8080"]);
  let complaint = "";
  child.stderr.on("data", (chunk) => {
    complaint += chunk;
  });
  const ended = once(child, "close").then(([code]) => `exit code ${code}`);
  const failed = ended.catch((error: Error) => error.message);
  const lines = createInterface({ input: child.stdout });
  const first = once(lines, "line").then(([line]) => String(line));
  const answer = await Promise.race([first, failed]);
  const [, port] = /^Forwarding from 127\.0\.0\.1:(\d+)/.exec(answer) ?? [];
  if (port === undefined)
    throw new Failure(
      `kubectl does not forward a port to ${service} in ${namespace}: ${complaint.trim() || answer}`,
      {
        next: 'eval "$(./deploy.sh env)"',
      },
    );
  return { url: `http://127.0.0.1:${port}`, close: () => void child.kill() };
}
