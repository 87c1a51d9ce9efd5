/**
 * What people get wrong in manifests, as changes of one field of one object. Each is drawn from the object's own fields, so
 * that a seed and a set of objects give the same mutations again.
 */
import type { FieldPath, KubernetesObject } from "../../lib/object.ts";
import { isMapping } from "../../lib/object.ts";
import { oneOf } from "./random.ts";

/** A change of one field; without a value the field goes. */
export interface Mutation {
  /** What kind of mistake it is: a name for statistics. */
  kind: string;
  path: FieldPath;
  /** Set instead of what is there, or added. */
  value?: unknown;
}

interface Field {
  path: FieldPath;
  value: unknown;
}

/** Every field of an object, itself excluded. */
export function fieldsOf(value: unknown, path: FieldPath = []): Field[] {
  if (typeof value !== "object" || value === null) return [];
  const isList = Array.isArray(value);
  return Object.entries(value).flatMap(([key, content]) => {
    const at = [...path, isList ? Number(key) : key];
    return [{ path: at, value: content }, ...fieldsOf(content, at)];
  });
}

/** The object with a mutation made; the original stays as it is. */
export function mutate(object: KubernetesObject, { path, value }: Mutation): KubernetesObject {
  const copy = structuredClone(object);
  let parent = copy as unknown as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) {
    parent[key] ??= {};
    parent = parent[key] as Record<string | number, unknown>;
  }
  const last = path.at(-1) ?? "";
  if (value !== undefined) parent[last] = value;
  else if (Array.isArray(parent)) parent.splice(Number(last), 1);
  else delete parent[last];
  return copy;
}

type Random = () => number;

/** Values of every type, for any field: what a slip of the indentation or of the quotes makes. */
const anything: unknown[] = [
  {},
  [],
  "",
  "text",
  0,
  3,
  -1,
  1.5,
  true,
  [{}],
  ["text"],
  { text: "text" },
  { a: { b: [] } },
  [[]],
  [3],
];

/** Replaces any field, at any depth, with a value of any type, or removes it. */
export function wrongShape(object: KubernetesObject, random: Random): Mutation {
  const { path } = oneOf(fieldsOf(object), random);
  return random() < 0.2
    ? { kind: "removed", path }
    : { kind: "wrong type", path, value: structuredClone(oneOf(anything, random)) };
}

const badNames = [
  "Upper",
  "with_underscore",
  "-leading",
  "trailing-",
  "dot.ted",
  "a".repeat(64),
  "a".repeat(254),
  "sp ace",
  "ü",
  "a/b",
  "x..y",
  "0digit",
];
const badLabels = [
  "a".repeat(64),
  "with space",
  "-leading",
  "trailing-",
  "a/b",
  "ü",
  "semi;colon",
  "under_score",
  "v1.2",
  "",
];
const badKeys = [
  "a b",
  "/x",
  "x/",
  "a/b/c",
  "UPPER/x",
  `${"a".repeat(64)}`,
  "ex ample.com/x",
  "-x",
  "x_y",
  `example.com/${"a".repeat(63)}`,
];
const quantities = [
  "1.5.5",
  "10 Mi",
  "10mi",
  "-1",
  "1Gib",
  "abc",
  "1e3",
  "0.5",
  "100",
  "12E",
  ".5",
  "5.",
  "1_000",
  "10k",
  "0",
];
const ports: unknown[] = [
  0,
  -1,
  65536,
  70000,
  "70000",
  "http_x",
  "HTTP",
  "a".repeat(16),
  "8080",
  1,
  65535,
  "web",
];
const cronExpressions = [
  "*/10 * * *",
  "99 * * * *",
  "@hourly",
  "@every 1h",
  "* * * * * *",
  "60 * * * *",
  "0 24 * * *",
  "0 0 0 * *",
  "0 0 * 13 *",
  "0 0 * * 8",
  "0 0 * * 7",
  "*/0 * * * *",
  "5-1 * * * *",
  "0 0 * * MON",
  "0 0 1-5,7 * *",
  "TZ=UTC 0 0 * * *",
  "a b c d e",
  "",
  "0 0 ? * *",
  "*/70 * * * *",
  "0 0 * JAN *",
  "0 0 * JANUARY *",
  "@daily",
  "@noon",
  "1,2,,3 * * * *",
  "0-59/5 * * * *",
  " 0 0 * * * ",
];
const zones = [
  "Europe/Berlin",
  "Europe/Berlinn",
  "UTC",
  "utc",
  "Local",
  "local",
  "",
  "CET",
  "EST5EDT",
  "+02:00",
  "Etc/GMT+5",
  "europe/berlin",
  "GMT+2",
  "../etc/passwd",
  "US/Pacific",
  "Asia/Kolkatta",
];
const durations = [
  "1",
  "1s",
  "500ms",
  "1.5s",
  "-1s",
  "0s",
  "1m30s",
  "1h",
  "abc",
  "1 s",
  "10us",
  "0.5ms",
  "1d",
  "",
  "1S",
  "100ns",
];
const counts: unknown[] = [0, -1, 1, 100, 2147483647, 2147483648, 4294967296, "3", 1.5];
const percentages: unknown[] = [0, 7.5, 100, 101, 250, -1, "50", "50%", "101%", "-1%"];
const enums: unknown[] = [
  "Always",
  "Never",
  "always",
  "OnFailure",
  "RuntimeDefault",
  "TCP",
  "tcp",
  "SCTP",
  "ClusterIP",
  "Foo",
  "Replace",
  "NONE",
  "STRICT",
  "HTTP",
  "GRPC",
  "",
];
const texts: unknown[] = [
  "",
  " ",
  "a".repeat(300),
  "/",
  "..",
  "a:b",
  "10.0.0.1",
  "300.0.0.1",
  "::1",
  "10.0.0.0/8",
  "10.0.0.0/33",
  "*",
  "*.example",
  "a..b",
  "0",
];
const numbersOfAnySize: unknown[] = [-1, 0, 1, 2147483648, 1e12, 65536];

const last = (path: FieldPath): string => String(path.at(-1));

/** A kind of mistake: where it can be made, and what it makes of a field. */
interface Maker {
  kind: string;
  fits: (field: Field) => boolean;
  make: (field: Field, random: Random, object: KubernetesObject) => Omit<Mutation, "kind">;
}

const replace =
  (values: readonly unknown[]) =>
  ({ path }: Field, random: Random): Omit<Mutation, "kind"> => ({ path, value: oneOf(values, random) });

const isList = ({ value }: Field): boolean => Array.isArray(value) && value.length > 0;
const namedList =
  /^(containers|initContainers|ports|env|volumes|volumeMounts|servers|http|subsets|rules|endpoints|podMetricsEndpoints|groups|accessModes|subjects|hosts|gateways)$/;

export const makers: Maker[] = [
  { kind: "name", fits: ({ path }) => last(path) === "name", make: replace(badNames) },
  {
    kind: "label value",
    fits: ({ path }) => /^(labels|matchLabels|selector|nodeSelector)$/.test(String(path.at(-2))),
    make: replace(badLabels),
  },
  {
    kind: "label key",
    fits: ({ path, value }) =>
      /^(labels|matchLabels|annotations|nodeSelector)$/.test(last(path)) && isMapping(value),
    make: ({ path }, random) => ({ path: [...path, oneOf(badKeys, random)], value: "x" }),
  },
  {
    kind: "quantity",
    fits: ({ path }) =>
      /^(requests|limits|hard|capacity)$/.test(String(path.at(-2))) ||
      /^(sizeLimit|storage)$/.test(last(path)),
    make: replace(quantities),
  },
  {
    kind: "request above limit",
    fits: ({ path, value }) => last(path) === "resources" && isMapping(value),
    make: ({ path, value }) => {
      const { limits = {} } = value as { limits?: Record<string, string> };
      const name = Object.keys(limits)[0] ?? "cpu";
      return { path, value: { limits: { [name]: "1", ...limits }, requests: { [name]: "100Gi" } } };
    },
  },
  {
    kind: "port",
    fits: ({ path }) =>
      /^(port|containerPort|targetPort|hostPort|nodePort|number|portNumber)$/.test(last(path)),
    make: replace(ports),
  },
  { kind: "cron expression", fits: ({ path }) => last(path) === "schedule", make: replace(cronExpressions) },
  {
    kind: "time zone",
    fits: ({ path }) => last(path) === "schedule",
    make: ({ path }, random) => ({ path: [...path.slice(0, -1), "timeZone"], value: oneOf(zones, random) }),
  },
  {
    kind: "duration",
    fits: ({ path }) =>
      /(timeout|Timeout|duration|Duration|interval|Interval|baseEjectionTime|for|fixedDelay)$/.test(
        last(path),
      ),
    make: replace(durations),
  },
  {
    kind: "count",
    fits: ({ value }) => typeof value === "number",
    make: replace([...counts, ...numbersOfAnySize]),
  },
  {
    kind: "percentage",
    fits: ({ path }) => /(percent|Percent|maxSurge|maxUnavailable|minAvailable|weight)/.test(last(path)),
    make: replace(percentages),
  },
  {
    kind: "enumeration",
    fits: ({ path, value }) =>
      typeof value === "string" &&
      /(Policy|policy|type|Type|protocol|mode|operator|action|simple|operation|applyTo|context|whenUnsatisfiable|effect|kind)$/.test(
        last(path),
      ),
    make: replace(enums),
  },
  {
    kind: "text",
    fits: ({ value, path }) => typeof value === "string" && path.length > 1 && path[0] !== "metadata",
    make: replace(texts),
  },
  {
    kind: "twice in a list",
    fits: isList,
    make: ({ path, value }) => {
      const list = value as unknown[];
      return { path, value: [...list, structuredClone(list[0])] };
    },
  },
  {
    kind: "empty list",
    fits: (field) => isList(field) && namedList.test(last(field.path)),
    make: ({ path }) => ({ path, value: [] }),
  },
  {
    kind: "mount of no volume",
    fits: ({ path, value }) => last(path) === "volumeMounts" && Array.isArray(value),
    make: ({ path, value }) => ({
      path,
      value: [...(value as unknown[]), { name: "nowhere", mountPath: "/nowhere" }],
    }),
  },
  {
    kind: "selector that is not the template's",
    fits: ({ path, value }) => last(path) === "matchLabels" && path[1] === "selector" && isMapping(value),
    make: ({ path }) => ({ path: [...path, "other"], value: "x" }),
  },
  {
    kind: "removed",
    fits: ({ path }) => path.length > 1,
    make: ({ path }) => ({ path }),
  },
  {
    kind: "wrong type",
    fits: () => true,
    make: replace(anything),
  },
  {
    kind: "unknown field",
    fits: ({ value }) => isMapping(value),
    make: ({ path }) => ({ path: [...path, "unknwon"], value: "x" }),
  },
  {
    kind: "environment name",
    fits: ({ path }) => path.at(-3) === "env" && last(path) === "name",
    make: replace(["1A", "A B", "A=B", "a.b", "A-B", "", "ä", "GOOD_NAME"]),
  },
  {
    kind: "key of a ConfigMap",
    fits: ({ path, value }) => path.length === 1 && last(path) === "data" && isMapping(value),
    make: ({ path }, random) => ({
      path: [...path, oneOf(["a b", "a/b", "..", "a.b_c-d", "ü", "a".repeat(254), ""], random)],
      value: "x",
    }),
  },
  {
    kind: "harmless",
    fits: ({ path, value }) => path[0] === "metadata" && last(path) === "labels" && isMapping(value),
    make: ({ path }, random) => ({
      path: [...path, oneOf(["team", "example.com/team", "app.kubernetes.io/version", "tier_2"], random)],
      value: oneOf(["a", "shop", "v1.2", "A_b"], random),
    }),
  },
  {
    kind: "harmless",
    fits: ({ path }) => path.length === 1 && last(path) === "metadata",
    make: (_, random) => ({
      path: ["metadata", "annotations", oneOf(["note", "example.com/note"], random)],
      value: oneOf(["any text, at all", "", "ä", "{}"], random),
    }),
  },
  {
    kind: "harmless",
    fits: ({ path }) => last(path) === "replicas",
    make: ({ path }, random) => ({ path, value: oneOf([2, 4, 5], random) }),
  },
];

/** A mistake that people make, in a field where it can be made; undefined where an object has no such field. */
export function mistake(object: KubernetesObject, random: Random): Mutation | undefined {
  const maker = oneOf(makers, random);
  const fitting = fieldsToMistake(object).filter(maker.fits);
  return fitting.length === 0 ? undefined : made(maker, oneOf(fitting, random), random, object);
}

/**
 * One mistake in some object: first its kind is drawn, then a field of any object where it can be made, so that what few
 * objects have comes as often as what all have.
 */
export function mistakeAmong<T extends { object: KubernetesObject }>(
  manifests: readonly T[],
  random: Random,
): { manifest: T; mutation: Mutation } {
  const maker = oneOf(makers, random);
  const owners = manifests.filter(({ object }) => fieldsToMistake(object).some(maker.fits));
  if (owners.length === 0) return mistakeAmong(manifests, random);
  const manifest = oneOf(owners, random);
  const field = oneOf(fieldsToMistake(manifest.object).filter(maker.fits), random);
  return { manifest, mutation: made(maker, field, random, manifest.object) };
}

const made = ({ kind, make }: Maker, field: Field, random: Random, object: KubernetesObject): Mutation => ({
  kind,
  ...make(field, random, object),
});

const remembered = new WeakMap<KubernetesObject, Field[]>();

function fieldsToMistake(object: KubernetesObject): Field[] {
  const fields =
    remembered.get(object) ??
    fieldsOf(object).filter(({ path }) => path[0] !== "apiVersion" && path[0] !== "kind");
  remembered.set(object, fields);
  return fields;
}
