/** Rules in the Common Expression Language that definitions of custom resources hold: the API server evaluates them. */
import { Environment } from "@marcbachmann/cel-js";

export interface CelRule {
  rule: string;
  message?: string;
}

const environment = new Environment({ unlistedVariablesAreDyn: true });
type Program = (context: Record<string, unknown>) => unknown;
const programs = new Map<string, Program | undefined>();

/** The rules that do not hold for a value. A rule about a change, or one that this library does not read, says nothing. */
export function celFlaws(value: unknown, rules: CelRule[] = []): { message: string; rule: string }[] {
  if (!Array.isArray(rules)) return [];
  return rules.flatMap(({ rule, message }) => {
    if (typeof rule !== "string" || rule.includes("oldSelf")) return [];
    const program = programOf(rule);
    if (!program || holds(program, value, rule)) return [];
    return [{ message: message ?? "violates a rule of its definition", rule: rule.replace(/\s+/g, " ") }];
  });
}

function programOf(rule: string): Program | undefined {
  if (!programs.has(rule)) {
    try {
      programs.set(rule, environment.parse(rule) as unknown as Program);
    } catch {
      programs.set(rule, undefined);
    }
  }
  return programs.get(rule);
}

function holds(program: Program, value: unknown, rule: string): boolean {
  try {
    return program({ self: value }) !== false;
  } catch {
    // What is no duration fails to become one, which is what the rule is there for.
    return !rule.includes("duration(self)");
  }
}
