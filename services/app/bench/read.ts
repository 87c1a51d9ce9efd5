// GET /logs of a large log beside nginx, where it is installed, and cat into a socket. Prints a table in Markdown.
// Usage: npm run bench:read -- [--megabytes 1024]
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { freePort } from "../../../lib/test/free-port.ts";
import { ServerProcess } from "./server-process.ts";

const { values } = parseArgs({ options: { megabytes: { type: "string", default: "1024" } } });
const directory = mkdtempSync(join(tmpdir(), "app-bench-"));
const file = join(directory, "app.log");
writeLines(file, Number(values.megabytes));
// Into the page cache, so that no server pays for the disk.
execFileSync("cat", [file], { stdio: ["ignore", "ignore", "inherit"] });

console.log(`Node ${process.version}, ${values.megabytes} MB\n`);
console.log("| server | seconds | MB/s | RSS before MB | RSS peak MB |");
console.log("| --- | --- | --- | --- | --- |");
await measureService();
await measureCat();
await measureNginx();
rmSync(directory, { recursive: true });

async function measureService(): Promise<void> {
  const env = {
    PATH: process.env.PATH,
    PORT: "0",
    METRICS_PORT: "0",
    DRAIN_SECONDS: "0",
    LOG_DIR: directory,
  };
  const server = await ServerProcess.start(
    ["--max-semi-space-size=8", "--max-old-space-size=112", "dist/main.js"],
    env,
  );
  const { now } = server.memory;
  const seconds = await download(`http://127.0.0.1:${server.port}/logs`);
  report("GET /logs", seconds, now, server.memory.peak);
  await server.stop();
}

/** `cat FILE | nc`, without a netcat: cat writes straight into the accepted socket. */
async function measureCat(): Promise<void> {
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.write("HTTP/1.0 200 OK\r\n\r\n", () => {
      spawn("cat", [file], { stdio: ["ignore", socket, "inherit"] }).on("close", () => socket.destroy());
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  report("cat into the socket", await download(`http://127.0.0.1:${port}/`));
  server.close();
}

async function measureNginx(): Promise<void> {
  if (spawnSync("nginx", ["-v"]).error) return;
  const port = await freePort();
  // Those of the package may be missing, or another user's.
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((what) => `${what}_temp_path ${directory}/${what}`)
    .join("; ");
  const configuration = `daemon off; master_process off; pid ${directory}/nginx.pid; error_log stderr;
    events {} http { access_log off; sendfile on; ${temporary};
      server { listen 127.0.0.1:${port}; root ${directory}; } }`;
  writeFileSync(join(directory, "nginx.conf"), configuration);
  const nginx = spawn("nginx", ["-c", join(directory, "nginx.conf"), "-p", directory], { stdio: "ignore" });
  report("nginx, sendfile", await download(`http://127.0.0.1:${port}/app.log`));
  nginx.kill();
}

/** Downloads into nothing by a client that is not this process; the seconds it took. */
async function download(url: string): Promise<number> {
  const args = ["-sS", "--fail", "--retry", "5", "--retry-connrefused", "-o", "/dev/null"];
  const client = spawn("curl", [...args, "-w", "%{time_total} %{size_download}", url]);
  let output = "";
  client.stdout.on("data", (chunk) => {
    output += chunk;
  });
  await once(client, "close");
  const [seconds, bytes] = output.split(" ").map(Number);
  if (seconds === undefined || (bytes ?? 0) < Number(values.megabytes) * 1e6)
    throw new Error(`got ${output}`);
  return seconds;
}

function report(name: string, seconds: number, before?: number, peak?: number): void {
  const speed = (Number(values.megabytes) * 1.048576) / seconds;
  const memory = [before, peak].map((value) => value?.toFixed(0) ?? "");
  console.log(`| ${[name, seconds.toFixed(2), speed.toFixed(0), ...memory].join(" | ")} |`);
}

function writeLines(path: string, megabytes: number): void {
  const line = `2026-01-02T03:04:05.678Z 0f8fad5b-d9cb-469f-a165-70867728950e ${"x".repeat(190)}\n`;
  const block = Buffer.from(line.repeat(4096)).subarray(0, 1024 * 1024);
  block[block.length - 1] = 0x0a;
  const descriptor = openSync(path, "w");
  for (let count = 0; count < megabytes; count++) writeSync(descriptor, block);
  closeSync(descriptor);
}
