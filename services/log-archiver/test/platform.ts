/** What a run of the archiver talks to, on 127.0.0.1: real pods of the API, an API server's one answer, a node's store. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pipeline } from "node:stream";
import { execa } from "execa";
import { bundle } from "../../../lib/test/bundle.ts";
import { linesIn } from "../src/lines.ts";

const service = resolve(import.meta.dirname, "..");
const api = resolve(service, "../app");
const [apiProgram, program] = await Promise.all([
  bundle(join(api, "src/main.ts")),
  bundle(join(service, "src/main.ts")),
]);

/** A pod of the API. */
export interface Pod {
  name: string;
  uid: string;
  port: number;
  serving?: boolean;
  process?: ChildProcess;
}

/** Everything around the archiver, below one temporary directory. */
export class Platform {
  readonly directory = mkdtempSync(join(tmpdir(), "archiver-test-"));
  readonly archives = this.path("archives");
  readonly pods: Pod[] = [];
  readonly stores: Pod[] = [];
  /** What runs have in their environment besides. */
  env: Record<string, string> = {};
  readonly #servers: Server[] = [];
  readonly #processes: ChildProcess[] = [];
  #api = 0;

  /** A directory of this platform's, made if it is not there. */
  path(name: string): string {
    const path = join(this.directory, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  /** Starts the API server, which knows the pods and stores of this moment, whatever that is. */
  async start(): Promise<void> {
    this.#api = await this.listen((req, res) => {
      const [, namespace, name] =
        /namespaces\/([\w-]+)\/endpointslices\?labelSelector=kubernetes.io\/service-name%3D([\w-]+)$/.exec(
          req.url ?? "",
        ) ?? [];
      const pods = { "app-headless": this.pods, "log-store": this.stores }[name ?? ""];
      // A Service without pods has one slice without endpoints.
      const empty = pods ? [{ metadata: { namespace }, endpoints: null }] : [];
      const slices = (pods ?? []).map(({ name, uid, port, serving = true }) => ({
        metadata: { namespace },
        ports: [
          { name: "metrics", port: 1 },
          { name: "http", port },
        ],
        endpoints: [
          {
            addresses: ["127.0.0.1"],
            conditions: { ready: serving, serving },
            nodeName: `node-of-${name}`,
            targetRef: { kind: "Pod", name, uid },
          },
        ],
      }));
      const items = [...slices, ...empty];
      res.setHeader("content-type", "application/json").end(JSON.stringify({ items }));
    });
  }

  /** Listens on a free port of 127.0.0.1. */
  async listen(answer: (req: IncomingMessage, res: ServerResponse) => void): Promise<number> {
    const server = createServer(answer).listen(0, "127.0.0.1");
    this.#servers.push(server);
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  }

  /** Starts a real pod of the API; `env` overrides its configuration. */
  async startPod(name: string, env: Record<string, string> = {}): Promise<Pod> {
    const child = spawn(process.execPath, [apiProgram], {
      cwd: api,
      env: {
        PATH: process.env.PATH,
        CONFIG_DIR: this.path("config"),
        LOG_DIR: this.path(`pods/${name}`),
        PORT: "0",
        METRICS_PORT: "0",
        DRAIN_SECONDS: "0",
        ...env,
      },
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#processes.push(child);
    for await (const line of flattened(linesIn(child.stdout))) {
      const { port } = JSON.parse(line) as { port?: number };
      if (port === undefined) continue;
      const pod = { name, uid: `uid-of-${name}`, port, process: child };
      this.pods.push(pod);
      return pod;
    }
    throw new Error(`pod ${name} did not start`);
  }

  /** Serves a directory as a node's store. */
  async startStore(name: string): Promise<string> {
    const directory = this.path(`stores/${name}`);
    const port = await this.listen((req, res) => serveDirectory(directory, req, res));
    this.stores.push({ name, uid: `uid-of-${name}`, port });
    return directory;
  }

  /** Starts the archiver's command; what is returned resolves at its end, whatever that is. */
  run(...args: string[]) {
    return this.runWith({}, ...args);
  }

  /** The same, with something on standard input, or as the head of a process group that a test kills as a whole. */
  runWith(options: { inputFile?: string; detached?: boolean }, ...args: string[]) {
    return execa(process.execPath, [program, ...args], {
      reject: false,
      ...options,
      env: {
        KUBERNETES_API: `http://127.0.0.1:${this.#api}`,
        POD_HOST: "{ip}",
        LOGS_DIR: this.path("app/logs"),
        TEMPORARY_DIR: this.path("tmp"),
        ARCHIVES_DIR: this.archives,
        PATIENCE_SECONDS: "0",
        ...this.env,
      },
    });
  }

  /** The lines that a restore of the latest archive prints. */
  async restored(...args: string[]): Promise<string[]> {
    const { stdout, stderr, exitCode } = await this.run("restore", ...args);
    if (exitCode !== 0) throw new Error(stderr);
    return stdout === "" ? [] : stdout.split("\n");
  }

  /** The stored archives' files, oldest first. */
  stored(): string[] {
    return readdirSync(this.archives)
      .filter((name) => name !== ".lock")
      .sort();
  }

  /** Ends what was started and removes the directory. */
  async stop(): Promise<void> {
    for (const child of this.#processes) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    for (const server of this.#servers) {
      server.close();
      server.closeAllConnections();
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

async function* flattened<T>(many: AsyncIterable<T[]>): AsyncGenerator<T> {
  for await (const some of many) yield* some;
}

/** Sends a message to be logged. */
export async function post(pod: Pod, message: string, requestId?: string): Promise<void> {
  const headers: Record<string, string> = requestId === undefined ? {} : { "x-request-id": requestId };
  const answer = await fetch(`http://127.0.0.1:${pod.port}/log`, {
    method: "POST",
    headers,
    body: JSON.stringify({ message }),
  });
  if (answer.status !== 200) throw new Error(`POST /log answers ${answer.status}`);
}

// A listing as nginx' autoindex gives it, and files with ranges.
function serveDirectory(directory: string, req: IncomingMessage, res: ServerResponse): void {
  if (req.url === "/") {
    const entries = readdirSync(directory).map((name) => ({
      name,
      type: "file",
      size: statSync(join(directory, name)).size,
    }));
    return void res.end(JSON.stringify(entries));
  }
  const path = join(directory, req.url ?? "");
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) return void res.writeHead(404).end();
  const start = Number(/^bytes=(\d+)-$/.exec(req.headers.range ?? "")?.[1] ?? 0);
  if (start > 0 && start >= found.size) return void res.writeHead(416).end();
  const headers = { "content-range": `bytes ${start}-${found.size - 1}/${found.size}` };
  res.writeHead(start > 0 ? 206 : 200, {
    "content-length": found.size - start,
    ...(start > 0 ? headers : {}),
  });
  pipeline(createReadStream(path, { start }), res, () => undefined);
}
