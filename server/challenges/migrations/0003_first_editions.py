from django.db import migrations

from server import scoring


def begin(apps, schema_editor):
    """Every phase gets the protocol of its challenge, and its present board as first edition."""
    protocols = apps.get_model("challenges", "ProtocolVersion")
    editions = apps.get_model("challenges", "Edition")
    for phase in apps.get_model("challenges", "Phase").objects.select_related("challenge"):
        rules, digest = scoring.protocol_rules(phase.challenge.protocol)
        defaults = {"rules": rules, "evaluator": scoring.version()}
        protocol, _ = protocols.objects.get_or_create(
            name=phase.challenge.protocol, digest=digest, defaults=defaults
        )
        phase.protocol = protocol
        phase.save(update_fields=["protocol"])
        editions.objects.create(
            phase=phase, number=1, truth_id=phase.truth_id, protocol=protocol, state="published",
            published=phase.challenge.created,
        )  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [("challenges", "0002_editions")]
    operations = [migrations.RunPython(begin, migrations.RunPython.noop)]
