/** Checks schedules and time zones of CronJobs as Kubernetes' parser (robfig/cron, five fields) does. */

interface Field {
  name: string;
  least: number;
  most: number;
  words?: string[];
}

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const fields: Field[] = [
  { name: "minute", least: 0, most: 59 },
  { name: "hour", least: 0, most: 23 },
  { name: "day of the month", least: 1, most: 31 },
  { name: "month", least: 1, most: 12, words: ["", ...months] },
  { name: "day of the week", least: 0, most: 6, words: days },
];
const descriptors = /^@(yearly|annually|monthly|weekly|daily|midnight|hourly)$/;

/** Says what is wrong with a schedule; undefined for a valid one. */
export function scheduleFlaw(text: string): string | undefined {
  if (/TZ/.test(text)) return "it contains a time zone: write that in timeZone";
  if (text.startsWith("@every "))
    return isGoDuration(text.slice(7)) ? undefined : "@every needs a duration such as 1h30m";
  if (text.startsWith("@")) return descriptors.test(text) ? undefined : `there is no ${text}`;
  const parts = text.trim().split(/\s+/).filter(Boolean);
  if (parts.length !== fields.length)
    return `it has ${parts.length} fields, not 5: minute, hour, day of the month, month, day of the week`;
  for (const [index, field] of fields.entries()) {
    const flaw = fieldFlaw(parts[index] ?? "", field);
    if (flaw) return `the ${field.name} ${flaw}`;
  }
  return undefined;
}

function fieldFlaw(text: string, field: Field): string | undefined {
  for (const range of text.split(",").filter(Boolean)) {
    const [span = "", step, ...more] = range.split("/");
    const [from = "", to, ...rest] = span.split("-");
    if (more.length > 0 || rest.length > 0) return `cannot be ${range}`;
    if (step !== undefined && !/^[1-9]\d*$/.test(step)) return `has no step ${step}`;
    if (from === "*" || from === "?") {
      if (to !== undefined) return `cannot be ${range}`;
      continue;
    }
    const first = numberOf(from, field);
    const last = to === undefined ? first : numberOf(to, field);
    if (first === undefined || last === undefined) return `cannot be ${range}`;
    if (first < field.least || last > field.most)
      return `goes from ${field.least} to ${field.most}, not to ${range}`;
    if (first > last) return `ends before it begins: ${range}`;
  }
  return undefined;
}

function numberOf(text: string, { words }: Field): number | undefined {
  if (/^\d+$/.test(text)) return Number(text);
  const index = words?.indexOf(text.toLowerCase()) ?? -1;
  return text !== "" && index >= 0 ? index : undefined;
}

/** True for a duration in Go's format: `1h30m`, `500ms`, `0`. */
export const isGoDuration = (text: string): boolean =>
  /^[+-]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)$/.test(text);

/** Says what is wrong with the name of a time zone; undefined if the machine's list has it. */
export function timeZoneFlaw(name: string): string | undefined {
  const unknown = `there is no time zone ${name || "without a name"}: write a value such as Europe/Berlin`;
  if (name === "UTC") return undefined;
  // Intl accepts any case and also offsets, but Kubernetes accepts only names from the tz database.
  if (!/^[A-Z][A-Za-z0-9_+-]*(\/[A-Z][A-Za-z0-9_+-]*)*$/.test(name) || /^local$/i.test(name)) return unknown;
  try {
    const canonical = new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone;
    return canonical !== name && canonical.toLowerCase() === name.toLowerCase() ? unknown : undefined;
  } catch {
    return unknown;
  }
}
