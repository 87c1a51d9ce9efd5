import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { join } from "node:path";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { post, startHere, temporaryDirectory } from "./running.ts";

interface Answer {
  description: string;
  headers?: Record<string, { required?: boolean; schema: object }>;
  content?: Record<string, { schema: object }>;
}

interface Document {
  paths: Record<string, Record<string, { responses: Record<string, Answer>; parameters?: object[] }>>;
}

const source = await readFile("openapi.yaml", "utf8");
// YAML aliases become shared objects, and references are followed where they are met.
const raw: unknown = parse(source);
const document = raw as Document;
const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).flatMap(([method, { responses }]) =>
    Object.keys(responses).map((status) => `${method.toUpperCase()} ${path} ${status}`),
  ),
);
const seen = new Set<string>();
const ajv = addFormats.default(new Ajv2020({ strict: false, allErrors: true }));
ajv.addSchema(raw as object, "document");

function resolve<T extends object>(value: T | { $ref: string }): T {
  if (!("$ref" in value)) return value;
  const steps = value.$ref.replace("#/", "").split("/");
  return steps.reduce<unknown>((node, step) => (node as Record<string, unknown>)[step], raw) as T;
}

function expectValid(schema: object, value: unknown, what: string): void {
  // References in the schema are relative to the document.
  const text = JSON.stringify(schema).replaceAll('"$ref":"#/', '"$ref":"document#/');
  const validate = ajv.compile(JSON.parse(text));
  expect(validate(value), `${what}: ${ajv.errorsText(validate.errors)} in ${JSON.stringify(value)}`).toBe(
    true,
  );
}

/** Expects the answer to be one that the document describes for this operation, in its status, headers and body. */
async function expectDocumented(method: string, path: string, response: Response): Promise<void> {
  const operation = document.paths[path]?.[method.toLowerCase()];
  const name = `${method} ${path} ${response.status}`;
  const found = operation?.responses[response.status];
  if (!found) throw new Error(`${name} is not documented`);
  seen.add(name);
  const answer = resolve(found);
  for (const [header, described] of Object.entries(answer.headers ?? {})) {
    const { required, schema } = resolve(described);
    const value = response.headers.get(header);
    if (required) expect(value, `${header} of ${name}`).not.toBe(null);
    if (value !== null) expectValid(schema, value, `${header} of ${name}`);
  }
  const body = await response.text();
  const type = response.headers.get("content-type")?.split(";")[0] ?? "";
  if (!answer.content) return expect(body).toBe("");
  const described = answer.content[type];
  if (!described) throw new Error(`${name} is not documented as ${JSON.stringify(type)}`);
  expectValid(described.schema, type.endsWith("json") ? JSON.parse(body) : body, name);
}

async function send(url: string, method: string, path: string, init: RequestInit & { query?: string } = {}) {
  const response = await fetch(`${url}${path}${init.query ?? ""}`, { method, ...init });
  await expectDocumented(method, path, response);
  return response;
}

test("the document is valid OpenAPI 3.1 and is served as it is", async () => {
  const { url } = await startHere();
  const response = await send(url, "GET", "/openapi.yaml");
  const result = await new Validator().validate(parse(await (await fetch(`${url}/openapi.yaml`)).text()));
  expect(result.errors).toBeUndefined();
  expect(result.valid).toBe(true);
  expect(response.headers.get("content-type")).toBe("application/yaml; charset=utf-8");
  expect(await (await fetch(`${url}/openapi.yaml`)).text()).toBe(source);
});

test.each(["/", "/status", "/livez", "/readyz", "/metrics"])("GET %s", async (path) => {
  const { url } = await startHere();
  expect((await send(url, "GET", path)).status).toBe(200);
});

test.each([
  [200, { body: '{"message":"hello"}' }],
  [400, { body: "{}" }],
  [400, { body: "{" }],
  [413, { body: JSON.stringify({ message: "x".repeat(70_000) }) }],
  [415, { body: "{}", headers: { "content-encoding": "gzip" } }],
])("POST /log: %i", async (status, init) => {
  const { url } = await startHere();
  expect((await send(url, "POST", "/log", init)).status).toBe(status);
});

test.each([
  ["/dev/full", 507],
  ["/dev/null", 503],
])("POST /log to %s: %i", async (device, status) => {
  const LOG_DIR = await temporaryDirectory();
  await symlink(device, join(LOG_DIR, "app.log"));
  const { url } = await startHere({ LOG_DIR });
  expect((await send(url, "POST", "/log", { body: '{"message":"hello"}' })).status).toBe(status);
});

test.each([
  [200, { body: '{"message":"hello"}\n{"message":"again"}\n' }],
  [400, { body: "{}\n{}" }],
  [400, { body: "" }],
  [400, { body: '{"message":"hello"}\nno JSON\n' }],
  [413, { body: `{"message":"${"x".repeat(1_100_000)}"}` }],
  [415, { body: "{}", headers: { "content-encoding": "gzip" } }],
])("POST /logs: %i", async (status, init) => {
  const { url } = await startHere();
  expect((await send(url, "POST", "/logs", init)).status).toBe(status);
});

test.each([
  ["/dev/full", 507],
  ["/dev/null", 503],
])("POST /logs to %s: %i", async (device, status) => {
  const LOG_DIR = await temporaryDirectory();
  await symlink(device, join(LOG_DIR, "app.log"));
  const { url } = await startHere({ LOG_DIR });
  expect((await send(url, "POST", "/logs", { body: '{"message":"hello"}' })).status).toBe(status);
});

test.each([
  [200, {}],
  [200, { query: "?tail=1" }],
  [200, { query: "?from=1" }],
  [206, { headers: { range: "bytes=1-2" } }],
  [206, { query: "?from=3", headers: { range: "bytes=1-2" } }],
  [400, { query: "?tail=x" }],
  [400, { query: "?from=x" }],
  [400, { query: "?from=0&tail=1" }],
  [416, { headers: { range: "bytes=1000000-" } }],
  [416, { query: "?from=1000000" }],
])("GET /logs: %i", async (status, init) => {
  const { url } = await startHere();
  await post(url, "hello");
  expect((await send(url, "GET", "/logs", init)).status).toBe(status);
});

test("HEAD /logs", async () => {
  const { url } = await startHere();
  expect((await send(url, "HEAD", "/logs")).status).toBe(200);
  expect((await send(url, "HEAD", "/logs", { query: "?tail=x" })).status).toBe(400);
  expect((await send(url, "HEAD", "/logs", { query: "?from=1000000" })).status).toBe(416);
});

test.each(["GET", "HEAD"])("%s /logs of an unchanged log: 304", async (method) => {
  const { url } = await startHere();
  const etag = (await fetch(`${url}/logs`)).headers.get("etag") ?? "";
  // fetch would add a header that asks for no 304.
  const response = await new Promise<Response>((resolve) => {
    get(`${url}/logs`, { method, headers: { "If-None-Match": etag } }, ({ statusCode = 0, headers }) =>
      resolve(new Response(null, { status: statusCode, headers: headers as Record<string, string> })),
    );
  });
  expect(response.status).toBe(304);
  await expectDocumented(method, "/logs", response);
});

test("a log that is a directory: 503 everywhere", async () => {
  const LOG_DIR = await temporaryDirectory();
  await mkdir(join(LOG_DIR, "app.log"));
  const { url } = await startHere({ LOG_DIR });
  for (const [method, path] of [
    ["GET", "/logs"],
    ["HEAD", "/logs"],
    ["GET", "/readyz"],
  ] as const) {
    expect((await send(url, method, path)).status).toBe(503);
  }
  await rm(join(LOG_DIR, "app.log"), { recursive: true });
  await writeFile(join(LOG_DIR, "app.log"), "");
  expect((await send(url, "GET", "/readyz")).status).toBe(200);
});

test("the tests above have had every documented answer", () => {
  expect([...seen].sort()).toEqual(documented.sort());
});
