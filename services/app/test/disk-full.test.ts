import { execFileSync } from "node:child_process";
import { readFile, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { entriesOf, expectProblem, post, ServiceProcess, sample, temporaryDirectory } from "./running.ts";

/** Whether this machine lets the tests mount a file system of their own. */
function canMount(): boolean {
  try {
    execFileSync("unshare", ["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

async function smallFileSystem(size: string): Promise<string> {
  const directory = await temporaryDirectory();
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size},mode=0777`, "tmpfs", directory]);
  onTestFinished(() => void execFileSync("umount", ["--lazy", directory]));
  return directory;
}

test.skipIf(!canMount())(
  "a full file system: 507, nothing half stored, and room is used at once",
  async () => {
    const LOG_DIR = await smallFileSystem("256k");
    const service = await ServiceProcess.start({ LOG_DIR, DRAIN_SECONDS: "0" });
    const url = `http://127.0.0.1:${await service.port()}`;
    await post(url, "first");
    const { bavail, bsize } = await statfs(LOG_DIR);
    await writeFile(join(LOG_DIR, "other"), Buffer.alloc((bavail - 3) * bsize));

    const acknowledged = ["first"];
    const send = async (message: string) => {
      const { status } = await post(url, message);
      if (status === 200) acknowledged.push(message);
      return status;
    };
    const messages = Array.from({ length: 30 }, (_, index) => `${index} ${"x".repeat(2000)}`);
    const statuses = await Promise.all(messages.map(send));
    expect(new Set(statuses)).toContain(507);
    await expectProblem(await post(url, "x".repeat(20_000)), 507);
    const stored = async () => (await entriesOf(service.file)).map(({ message }) => message);
    expect((await stored()).toSorted()).toEqual(acknowledged.toSorted());
    expect(await (await fetch(`${url}/logs`)).text()).toBe(await readFile(service.file, "utf8"));
    for (const path of ["/livez", "/readyz"]) expect((await fetch(url + path)).status).toBe(200);

    await rm(join(LOG_DIR, "other"));
    expect(await send("last")).toBe(200);
    expect((await stored()).toSorted()).toEqual(acknowledged.toSorted());
    const page = await (await fetch(`${url}/metrics`)).text();
    expect(sample(page, 'log_writes_total{result="success"}')).toBe(acknowledged.length);
    expect(sample(page, 'log_writes_total{result="failure"}')).toBe(33 - acknowledged.length);
  },
);

test.skipIf(!canMount())(
  "a full file system does not hinder the rotation that makes room",
  slow,
  async () => {
    const LOG_DIR = await smallFileSystem("256k");
    const files = { MAX_FILE_BYTES: "31000", KEPT_FILES: "2" };
    const service = await ServiceProcess.start({ LOG_DIR, DRAIN_SECONDS: "0", ...files });
    const url = `http://127.0.0.1:${await service.port()}`;
    const startOf = async () => Number((await fetch(`${url}/logs`)).headers.get("log-start"));
    const send = async () => (await post(url, "x".repeat(10_000))).status;
    // Up to the last message before a rotation that drops a file.
    for (let count = 0; count < 9; count++) expect(await send()).toBe(200);
    expect(await startOf()).toBe(0);
    const full = await writeFile(join(LOG_DIR, "other"), Buffer.alloc(256 * 1024)).catch(
      (error) => error.code,
    );
    expect([full, (await statfs(LOG_DIR)).bavail]).toEqual(["ENOSPC", 0]);
    for (let count = 0; count < 12; count++) expect(await send()).toBe(200);
    expect(await startOf()).toBeGreaterThan(120_000);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  },
);
