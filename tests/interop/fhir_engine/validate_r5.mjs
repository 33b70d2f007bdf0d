// Medplum's validator with HL7's definitions of FHIR R5 in place of those of R4.
//
// Reads one resource a line on standard input; prints a line for each: the issues, as JSON. References are looked at by
// their type, so they are given as a server stores them (Type/id).

import { readFileSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { indexStructureDefinitionBundle, normalizeOperationOutcome, validateResource } from '@medplum/core';

const folder = new URL('node_modules/hl7.fhir.r5.core/', import.meta.url);
const definitions = readdirSync(folder)
  .filter((name) => name.startsWith('StructureDefinition-'))
  .map((name) => JSON.parse(readFileSync(new URL(name, folder), 'utf-8')))
  // Data types and resources; no profiles on them and no logical models.
  .filter((each) => each.derivation !== 'constraint' && each.kind !== 'logical');
indexStructureDefinitionBundle(definitions);

for await (const line of createInterface({ input: process.stdin })) {
  let issues;
  try {
    issues = validateResource(JSON.parse(line));
  } catch (error) {
    issues = normalizeOperationOutcome(error).issue;
  }
  console.log(JSON.stringify(issues));
}
