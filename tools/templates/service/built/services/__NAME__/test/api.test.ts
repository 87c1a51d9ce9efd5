import { expect, test } from "vitest";
import { startHere } from "./running.ts";

test("GET / answers the configured greeting as text", async () => {
  const { url } = await startHere({ greeting: "Good day" });
  const response = await fetch(url);
  expect(response.headers.get("content-type")).toMatch(/^text\/plain/);
  expect(await response.text()).toBe("Good day");
});

test.each(["/status", "/livez", "/readyz"])("GET %s says that all is well", async (path) => {
  const { url } = await startHere();
  const response = await fetch(url + path);
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual({ status: "ok" });
});

test("another path is answered with problem+json", async () => {
  const { url } = await startHere();
  const response = await fetch(`${url}/wrong`);
  expect(response.status).toBe(404);
  expect(response.headers.get("content-type")).toMatch(/^application\/problem\+json/);
  expect(await response.json()).toMatchObject({ status: 404, detail: "there is nothing at /wrong" });
});

test("the metrics port counts requests by route, and serves nothing else", async () => {
  const { url, metricsUrl } = await startHere();
  await (await fetch(`${url}/status`)).text();
  await (await fetch(`${url}/what?ever`)).text();
  const page = await (await fetch(`${metricsUrl}/metrics`)).text();
  const count = (labels: string) => `http_request_duration_seconds_count{${labels}} 1`;
  expect(page).toContain(count('method="GET",route="/status",status_code="200"'));
  expect(page).toContain(count('method="GET",route="unmatched",status_code="404"'));
  expect(page).toContain("process_resident_memory_bytes");
  expect((await fetch(`${metricsUrl}/status`)).status).toBe(404);
  expect((await fetch(`${url}/metrics`)).status).toBe(404);
});
