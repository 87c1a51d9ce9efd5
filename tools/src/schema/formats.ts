/** Formats of strings and numbers in the API. Each check returns the fix for a wrong value, or undefined. */
import { isIP } from "node:net";

/** Says what to write instead of a wrong value; undefined if the value is right. */
export type Format = (value: unknown) => string | undefined;

const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const qualified = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;

const matches =
  (test: (text: string) => boolean, what: string): Format =>
  (value) =>
    typeof value !== "string" || test(value) ? undefined : what;

const isLabel = (text: string): boolean => text.length <= 63 && label.test(text);
const isSubdomain = (text: string): boolean =>
  text.length <= 253 && text.split(".").every((part) => label.test(part));
const isQualified = (text: string): boolean => {
  const parts = text.split("/");
  const name = parts.pop() ?? "";
  return (
    parts.length <= 1 &&
    (parts[0] === undefined || isSubdomain(parts[0])) &&
    name.length <= 63 &&
    qualified.test(name)
  );
};

export const dnsLabel = matches(
  isLabel,
  "write at most 63 lower case letters, digits and dashes, with a letter or digit at both ends",
);
export const dnsSubdomain = matches(
  isSubdomain,
  "write lower case letters, digits, dashes and dots, at most 253, with a letter or digit at both ends of each part",
);
export const dns1035 = matches(
  (text) => isLabel(text) && /^[a-z]/.test(text),
  "write at most 63 lower case letters, digits and dashes, that begin with a letter",
);
export const pathSegment = matches(
  (text) => text !== "." && text !== ".." && text !== "" && !/[/%]/.test(text),
  "write a name without / and %",
);
export const cronJobName = matches(
  (text) => isSubdomain(text) && text.length <= 52,
  "write lower case letters, digits, dashes and dots, at most 52: the names of its Jobs are longer",
);
export const labelKey = matches(
  isQualified,
  "write [PREFIX/]NAME: a DNS name, and at most 63 letters, digits, dashes, dots and underscores",
);
export const annotationKey = matches(
  (text) => isQualified(text.toLowerCase()),
  "write [PREFIX/]NAME: a DNS name, and at most 63 letters, digits, dashes, dots and underscores",
);
export const labelValue = matches(
  (text) => text === "" || (text.length <= 63 && qualified.test(text)),
  "write at most 63 letters, digits, dashes, dots and underscores, with a letter or digit at both ends",
);
export const portName = matches(
  (text) => text.length <= 15 && label.test(text) && /[a-z]/.test(text) && !text.includes("--"),
  "write at most 15 lower case letters, digits and single dashes, with a letter among them",
);
export const configKey = matches(
  (text) => text.length <= 253 && /^[-._a-zA-Z0-9]+$/.test(text) && text !== "." && !text.startsWith(".."),
  "write at most 253 letters, digits, dashes, dots and underscores",
);
export const environmentName = matches(
  (text) => /^[ -<>-~]+$/.test(text),
  "write printable ASCII characters, and no equals sign",
);
export const notEmpty = matches((text) => text !== "", "write a value");
export const absolutePath = matches((text) => text.startsWith("/"), "start it with a slash");
export const base64 = matches(
  (text) => /^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(text) && text.replace(/\s/g, "").length % 4 === 0,
  "encode the value as base64, or write it under stringData",
);

const integer = (least: number, most: number, what: string): Format => {
  return (value) => (typeof value !== "number" || (value >= least && value <= most) ? undefined : what);
};
export const portNumber = integer(1, 65_535, "write a number from 1 to 65535");
export const portOrNone = integer(0, 65_535, "write a number from 1 to 65535");
export const notNegative = integer(0, Number.MAX_SAFE_INTEGER, "write 0 or more");
export const positive = integer(1, Number.MAX_SAFE_INTEGER, "write 1 or more");
export const userId = integer(0, 2_147_483_647, "write a number from 0 to 2147483647");
export const fileMode = integer(0, 0o777, "write a number from 0 to 0777");
export const int32 = integer(-2_147_483_648, 2_147_483_647, "write a number that 32 bits can hold");

/** A port's number or its name. */
export const port: Format = (value) => (typeof value === "number" ? portNumber(value) : portName(value));

/** A count, or a percentage such as `25%`. */
export const countOrShare: Format = (value) => {
  if (typeof value === "number") return notNegative(value);
  return typeof value === "string" && !/^[0-9]+%$/.test(value)
    ? "write a number, or a percentage such as 25%"
    : undefined;
};

const suffixes: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** A quantity's amount, such as 1024 for `1Ki`; undefined if it is not a quantity. */
export function amountOf(quantity: unknown): number | undefined {
  const [, number = "", suffix = "", exponent] =
    /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)?|[eE]([+-]?\d+))$/.exec(String(quantity)) ?? [];
  const factor = exponent === undefined ? suffixes[suffix] : 10 ** Number(exponent);
  return number === "" || factor === undefined ? undefined : Number(number) * factor;
}

/** A quantity that is not negative. */
export const amount: Format = (value) => ((amountOf(value) ?? 0) < 0 ? "write 0 or more" : undefined);

/** A network such as 10.0.0.0/8. */
export const network: Format = (value) => {
  if (typeof value !== "string") return undefined;
  const [address = "", bits = "", ...more] = value.split("/");
  const most = address.includes(":") ? 128 : 32;
  const isBits = /^(0|[1-9]\d*)$/.test(bits) && Number(bits) <= most;
  return isAddress(address) && isBits && more.length === 0
    ? undefined
    : "write an address and a length, such as 10.0.0.0/8";
};

/** An IP address. */
export const address: Format = (value) =>
  typeof value !== "string" || isAddress(value) ? undefined : "write an IP address";

const isAddress = (text: string): boolean => isIP(text) !== 0;
