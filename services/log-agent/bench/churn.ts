/**
 * Memory of the agent while pods come and go: each brings a file of ten lines and is deleted once they are printed.
 * There are PODS pods in all (default 10,000), 100 every BATCH_SECONDS (default 3; 0: as fast as they are read). The
 * agent's metrics are scraped every 5 s, as by Prometheus. It prints ten rows, and fails if a line is missing.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Agent } from "../test/agent.ts";

const pods = Number(process.env.PODS ?? 10_000);
const atOnce = 100;
const batchMs = Number(process.env.BATCH_SECONDS ?? 3) * 1000;
const pause = (ms: number): Promise<void> => new Promise((wake) => setTimeout(wake, ms));
const linesPerFile = 10;
const text = (pod: number): string =>
  Array.from(
    { length: linesPerFile },
    (_, i) => `2026-01-01T00:00:00.000Z ${pod}-${i} ${"message ".repeat(12)}\n`,
  ).join("");

const agent = new Agent();
const status = (name: string): number =>
  Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync(`/proc/${agent.pid}/status`, "utf8"))?.[1]) /
  1024;

let scraping: NodeJS.Timeout | undefined;
try {
  await agent.start();
  scraping = setInterval(() => void agent.counted(), 5000);
  console.log("| files so far | RSS MB | highest MB |\n| --- | --- | --- |");
  for (let done = 0; done < pods; ) {
    const next = Date.now() + batchMs;
    const batch = Array.from({ length: Math.min(atOnce, pods - done) }, (_, i) => done + i);
    for (const pod of batch) writeFileSync(join(agent.volume(`uid-${pod}`), "app.log"), text(pod));
    done += batch.length;
    while ((await agent.sent()) < done * linesPerFile) await pause(100);
    for (const pod of batch) rmSync(join(agent.pods, `uid-${pod}`), { recursive: true });
    await pause(next - Date.now());
    if (done % (pods / 10) < atOnce)
      console.log(`| ${done} | ${status("VmRSS").toFixed(0)} | ${status("VmHWM").toFixed(0)} |`);
  }
  const printed = new Set(agent.printed().map(({ request_id: id }) => id));
  if (printed.size !== pods * linesPerFile) throw new Error(`${printed.size} lines were printed`);
} finally {
  clearInterval(scraping);
  await agent.remove();
}
