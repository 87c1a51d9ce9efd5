import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { post, sample, startHere, temporaryDirectory } from "./running.ts";

async function pageOf(url: string): Promise<string> {
  const response = await fetch(`${url}/metrics`);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
  return response.text();
}

test("names, types and help texts", async () => {
  const { url } = await startHere();
  const page = await pageOf(url);
  const own = page.split("\n").filter((line) => /^# \w+ (log|config|http)_/.test(line));
  expect(own).toEqual([
    "# HELP log_requests_total Requests to /log, whatever their outcome.",
    "# TYPE log_requests_total counter",
    "# HELP log_many_requests_total Requests to POST /logs, whatever their outcome.",
    "# TYPE log_many_requests_total counter",
    "# HELP log_writes_total Log lines by the result of writing them to disk.",
    "# TYPE log_writes_total counter",
    "# HELP log_retries_total Retried requests that were answered with the outcome of the first, and not written again.",
    "# TYPE log_retries_total counter",
    "# HELP log_fsync_duration_seconds Time of each fdatasync of the log file that succeeded.",
    "# TYPE log_fsync_duration_seconds histogram",
    "# HELP log_sync_failures_total Syncs that failed after their lines had been acknowledged, which only SYNC=interval allows.",
    "# TYPE log_sync_failures_total counter",
    "# HELP log_batch_lines Lines that shared one write.",
    "# TYPE log_batch_lines histogram",
    "# HELP log_queue_depth Lines that wait for a write.",
    "# TYPE log_queue_depth gauge",
    "# HELP log_file_size_bytes Size of the log file being written, without its rotated generations.",
    "# TYPE log_file_size_bytes gauge",
    "# HELP log_rotations_total Times that the log file was rotated.",
    "# TYPE log_rotations_total counter",
    "# HELP log_torn_lines_total Incomplete lines that a crash left at the end of the log file and that were removed.",
    "# TYPE log_torn_lines_total counter",
    "# HELP config_reloads_total Changed configurations by whether they were applied.",
    "# TYPE config_reloads_total counter",
    "# HELP config_last_reload_successful Whether the last configuration found was applied (1) or refused (0).",
    "# TYPE config_last_reload_successful gauge",
    "# HELP http_request_duration_seconds Time from a request's arrival to the end of its answer, by method, route and status code.",
    "# TYPE http_request_duration_seconds histogram",
  ]);
  for (const name of [
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "nodejs_eventloop_lag_seconds",
  ]) {
    expect(page).toContain(`# HELP ${name} `);
  }
});

test("every sample starts at 0", async () => {
  const { url } = await startHere();
  const page = await pageOf(url);
  expect(sample(page, "log_requests_total")).toBe(0);
  expect(sample(page, 'log_writes_total{result="success"}')).toBe(0);
  expect(sample(page, 'log_writes_total{result="failure"}')).toBe(0);
});

test("calls, writes and durations are counted, and the mean follows", async () => {
  const { url } = await startHere();
  for (const message of ["a", "b", "c", ""]) await (await post(url, message)).text();
  const samples = (status: number, part: "count" | "sum") =>
    `http_request_duration_seconds_${part}{method="POST",route="/log",status_code="${status}"}`;
  // A duration is observed just after its answer has gone out.
  await expect.poll(async () => sample(await pageOf(url), samples(400, "count"))).toBe(1);
  await expect.poll(async () => sample(await pageOf(url), samples(200, "count"))).toBe(3);
  const page = await pageOf(url);
  expect(sample(page, "log_requests_total")).toBe(4);
  expect(sample(page, 'log_writes_total{result="success"}')).toBe(3);
  expect((sample(page, samples(200, "sum")) ?? 0) / 3).toBeGreaterThan(0);
});

test("every batch and its fdatasync are counted", async () => {
  const { url } = await startHere();
  await Promise.all(Array.from({ length: 50 }, (_, index) => post(url, `message ${index}`)));
  const page = await pageOf(url);
  const batches = sample(page, "log_batch_lines_count") ?? 0;
  expect(batches).toBeGreaterThan(0);
  expect(sample(page, "log_batch_lines_sum")).toBe(50);
  expect(sample(page, "log_fsync_duration_seconds_count")).toBe(batches);
  expect(sample(page, "log_fsync_duration_seconds_sum")).toBeGreaterThan(0);
  expect(sample(page, "log_queue_depth")).toBe(0);
});

test("a torn line that a crash left behind is counted", async () => {
  const LOG_DIR = await temporaryDirectory();
  await writeFile(
    join(LOG_DIR, "app.log"),
    "2026-01-02T03:04:05.678Z r1 whole\n2026-01-02T03:04:05.679Z r2 to",
  );
  const { url, file } = await startHere({ LOG_DIR });
  expect(await readFile(file, "utf8")).toBe("2026-01-02T03:04:05.678Z r1 whole\n");
  expect(sample(await pageOf(url), "log_torn_lines_total")).toBe(1);
});

test("unknown paths share one route label", async () => {
  const { url } = await startHere();
  for (const path of ["/a", "/b?c", "/log/d"]) await (await fetch(url + path)).text();
  const name = 'http_request_duration_seconds_count{method="GET",route="unmatched",status_code="404"}';
  await expect.poll(async () => sample(await pageOf(url), name)).toBe(3);
});

test("the metrics port has the same metrics and nothing else", async () => {
  const { url, metricsUrl } = await startHere();
  await post(url, "hello");
  expect(sample(await pageOf(metricsUrl), "log_requests_total")).toBe(1);
  for (const path of ["/", "/logs", "/log"]) expect((await fetch(metricsUrl + path)).status).toBe(404);
});
