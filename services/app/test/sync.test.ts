import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { entriesOf, expectProblem, post, ServiceProcess, sample, temporaryDirectory } from "./running.ts";

/** A service whose fdatasync waits while the file `hold` is in the gate's directory, and fails while `fail` is. */
async function startGated(settings: Record<string, string>) {
  const gate = await temporaryDirectory();
  const service = await ServiceProcess.start({ DRAIN_SECONDS: "0", ...settings }, { SYNC_GATE: gate });
  const url = `http://127.0.0.1:${await service.port()}`;
  return {
    url,
    service,
    set: (name: "hold" | "fail") => writeFile(join(gate, name), ""),
    clear: (name: "hold" | "fail") => rm(join(gate, name)),
    held: () => expect.poll(() => existsSync(join(gate, "holding"))).toBe(true),
    metric: async (name: string) => sample(await (await fetch(`${url}/metrics`)).text(), name),
  };
}

/** Round trips that a service with an answer to send would not outlast. */
async function others(url: string): Promise<void> {
  for (let count = 0; count < 20; count++) await (await fetch(`${url}/status`)).text();
}

test("SYNC=always: no answer before fdatasync returns, though the line is written", async () => {
  const { url, service, set, clear, held } = await startGated({});
  await set("hold");
  let answered = false;
  const answer = post(url, "held").finally(() => {
    answered = true;
  });
  await held();
  expect(await entriesOf(service.file)).toMatchObject([{ message: "held" }]);
  await others(url);
  expect(answered).toBe(false);
  expect(await (await fetch(`${url}/logs`)).text()).toBe("");
  await clear("hold");
  expect((await answer).status).toBe(200);
});

test("SYNC=always: a retry waits for the write of the first attempt and adds no line", slow, async () => {
  const { url, service, set, clear, held } = await startGated({});
  const attempt = (count: number) => ({ "x-request-id": "r1", "x-envoy-attempt-count": String(count) });
  await set("hold");
  const first = post(url, "held", attempt(1));
  await held();
  let answered = false;
  const second = post(url, "held", attempt(2)).finally(() => {
    answered = true;
  });
  await others(url);
  expect(answered).toBe(false);
  await clear("hold");
  expect((await first).status).toBe(200);
  expect((await second).status).toBe(200);
  expect(await entriesOf(service.file)).toHaveLength(1);
});

test("SYNC=always: where fdatasync fails the answer is 503, the line is gone, and later ones are stored", async () => {
  const { url, service, set, clear, metric } = await startGated({});
  await post(url, "before");
  await set("fail");
  await expectProblem(await post(url, "lost"), 503);
  await clear("fail");
  expect((await post(url, "after")).status).toBe(200);
  expect((await entriesOf(service.file)).map(({ message }) => message)).toEqual(["before", "after"]);
  expect(await metric('log_writes_total{result="failure"}')).toBe(1);
});

test("SYNC=interval: the answer comes before fdatasync, which follows by itself", async () => {
  const { url, service, set, clear, held, metric } = await startGated({ SYNC: "interval" });
  await set("hold");
  expect((await post(url, "early")).status).toBe(200);
  expect(await entriesOf(service.file)).toHaveLength(1);
  await held();
  await clear("hold");
  await expect.poll(() => metric("log_fsync_duration_seconds_count")).toBe(1);
  await post(url, "next");
  await expect.poll(() => metric("log_fsync_duration_seconds_count")).toBe(2);
});

test("SYNC=interval: an fdatasync that fails is logged and counted", slow, async () => {
  const { url, service, set, metric } = await startGated({ SYNC: "interval" });
  await set("fail");
  expect((await post(url, "early")).status).toBe(200);
  await service.logged("acknowledged lines may not be on disk");
  expect(await metric("log_sync_failures_total")).toBe(1);
});

test("SYNC=never: no fdatasync but when the service stops", slow, async () => {
  const { url, service, set, clear, held, metric } = await startGated({ SYNC: "never" });
  await set("hold");
  for (const message of ["one", "two"]) expect((await post(url, message)).status).toBe(200);
  expect(await metric("log_fsync_duration_seconds_count")).toBe(0);
  service.child.kill("SIGTERM");
  await held();
  await clear("hold");
  expect(await service.exited).toBe(0);
  expect(await entriesOf(service.file)).toHaveLength(2);
});
