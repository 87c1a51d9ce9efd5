/**
 * What a run costs: with many new lines, and with nothing new beside few and many stored ones.
 * `npm run bench --prefix services/log-archiver -- [--lines 2000000] [--stored 10000000]`
 */
import { readdirSync, readFileSync, statSync, writeSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Platform } from "../test/platform.ts";

const { values } = parseArgs({
  options: { lines: { type: "string", default: "2000000" }, stored: { type: "string", default: "10000000" } },
});
const fileBytes = 64 * 1024 * 1024;

/** Fills two stores with lines of six pods, in files as an agent rotates them. */
async function fill(platform: Platform, lines: number): Promise<number> {
  let bytes = 0;
  for (const store of [0, 1]) {
    const directory = await platform.startStore(`store-${store}`);
    let written = fileBytes;
    let file: Awaited<ReturnType<typeof open>> | undefined;
    let number = 0;
    const next = async (): Promise<void> => {
      await file?.close();
      const moment = new Date(Date.UTC(2026, 0, 1) + number++ * 1000)
        .toISOString()
        .slice(0, -1)
        .replaceAll(":", "-");
      file = await open(join(directory, `lines-${moment}-size.jsonl`), "w");
      written = 0;
    };
    let batch = "";
    for (let i = 0; i < lines / 2; i++) {
      if (written >= fileBytes) await next();
      const pod = `app-7d9f8b6c5-${store}${i % 3}`;
      const uid = `0b3c1f9a-5d2e-4c7b-9f1a-00000000000${store}${i % 3}`;
      const record = {
        file: `${uid}/volumes/kubernetes.io~empty-dir/logs/app.log`,
        message: `order ${i} of customer ${(i * 7919) % 100_003} was accepted`,
        namespace: "logging",
        node: `node${store + 1}`,
        offset: Math.floor(i / 3) * 120,
        pod,
        request_id: `${(i * 2_654_435_761).toString(16).padStart(16, "0")}-${store}`,
        time: new Date(Date.UTC(2026, 0, 1) + Math.floor(i / 4)).toISOString(),
        uid,
      };
      batch += `${JSON.stringify(record)}\n`;
      if (batch.length < 1024 * 1024 && i + 1 < lines / 2) continue;
      written += writeSync(file?.fd ?? 0, batch);
      bytes += batch.length;
      batch = "";
    }
    await file?.close();
  }
  return bytes;
}

const sizeOf = (directory: string): number => {
  try {
    return readdirSync(directory, { withFileTypes: true, recursive: true }).reduce(
      (sum, entry) =>
        sum +
        (entry.isFile()
          ? (statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0)
          : 0),
      0,
    );
  } catch {
    // A directory that goes while it is read.
    return 0;
  }
};

/** Resident bytes of a process and its children. */
function residentOf(pid: number): number {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean);
    const pages = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
    return pages * 4096 + children.reduce((sum, child) => sum + residentOf(Number(child)), 0);
  } catch {
    return 0;
  }
}

/** One run, with the most that it had in memory and in its scratch. */
async function run(platform: Platform): Promise<{ seconds: number; resident: number; scratch: number }> {
  const began = performance.now();
  const child = platform.run("archive");
  let [resident, scratch, ended] = [0, 0, false];
  const watching = (async () => {
    while (!ended) {
      resident = Math.max(resident, residentOf(child.pid ?? 0));
      scratch = Math.max(scratch, sizeOf(platform.path("tmp")) + sizeOf(platform.path("app/logs")));
      await sleep(100);
    }
  })();
  const { exitCode, stderr } = await child;
  const seconds = (performance.now() - began) / 1000;
  ended = true;
  await watching;
  if (exitCode !== 0) throw new Error(stderr);
  return { seconds, resident, scratch };
}

const mib = (bytes: number): string => `${Math.round(bytes / 1024 / 1024)} MiB`;

async function withPlatform(use: (platform: Platform) => Promise<void>): Promise<void> {
  const platform = new Platform();
  try {
    await platform.start();
    await use(platform);
  } finally {
    await platform.stop();
  }
}

const idle: number[] = [];
for (const stored of [10_000, Number(values.stored)])
  await withPlatform(async (platform) => {
    const bytes = await fill(platform, stored);
    await run(platform);
    const times = [];
    for (let i = 0; i < 5; i++) times.push((await run(platform)).seconds);
    const median = times.sort((a, b) => a - b)[2] ?? Number.NaN;
    idle.push(median);
    console.log(
      `nothing new, ${stored} lines (${mib(bytes)}) stored: ${median.toFixed(2)} s, the median of 5`,
    );
  });
console.log(`ratio ${((idle[1] ?? 0) / (idle[0] ?? 1)).toFixed(2)}`);

await withPlatform(async (platform) => {
  const bytes = await fill(platform, Number(values.lines));
  const { seconds, resident, scratch } = await run(platform);
  const share = (scratch / bytes).toFixed(2);
  console.log(
    `${values.lines} new lines (${mib(bytes)}): ${seconds.toFixed(1)} s, RSS ${mib(resident)}, scratch ${share} of their size`,
  );
});
